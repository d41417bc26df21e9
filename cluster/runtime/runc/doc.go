// Package runc is the embedded container runtime: no engine, no daemon. Start
// from [New]; it needs root on Linux, the program moorage-shim (package
// runtime/runc/moorage-shim) and nft.
//
// Each container has a shim: a small process that owns libcontainer for it,
// keeps its output and records its end. Shims and containers go on when the
// program that started them ends or is killed; New finds them again in the state
// directory. The program itself holds no container open.
//
// Tenants are strangers, so a container gets: a user namespace with host IDs of
// its own; mount, PID, IPC, UTS, cgroup and network namespaces; the default
// seccomp profile of Docker; the capabilities CHOWN, DAC_OVERRIDE, FOWNER,
// FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT and
// AUDIT_WRITE; no new privileges; masked and read-only kernel files; cgroup
// limits for processor, memory (no swap) and processes; bounded logs; a bounded
// writable layer, which is measured every few seconds and ends the container when
// passed. Networks are bridges that one nftables table keeps apart, from each
// other, from the host and from private ranges around it.
//
// Names that the runtime leaves on the machine while containers run, NNNNNN being
// derived from the state directory: bridges mrgNNNNNN.*, interfaces mvNNNNNN*, the
// nftables table inet moorage_NNNNNN, cgroups /moorage/NNNNNN. [Runtime.Purge]
// removes all.
//
// It does not: mount host folders, publish ports (the host reaches a container's
// address), give devices, run on other systems.
package runc
