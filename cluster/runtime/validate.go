package runtime

import (
	"fmt"
	"log/slog"
	"path"
	"strings"
)

// Bounds of a [Spec] and of names.
const (
	// MaxName bounds names of containers, networks and volumes in bytes.
	MaxName = 64
	// MaxLabels and MaxLabelBytes bound labels.
	MaxLabels     = 64
	MaxLabelBytes = 4 << 10
	// MaxEnv bounds environment entries, MaxArgs the words of a command: the
	// kernel takes about 2 MiB of both together.
	MaxEnv  = 4096
	MaxArgs = 4096
	// MaxArgBytes is the kernel's own limit for one word (MAX_ARG_STRLEN).
	MaxArgBytes = 128 << 10
	// MaxMounts bounds mounts of one container.
	MaxMounts = 64
	// MinMemoryBytes is what it takes to start anything in a container; a lower
	// limit is raised to it.
	MinMemoryBytes = 8 << 20
)

// CheckName reports whether name may name a container, network or volume:
// 1 to [MaxName] of a-z, 0-9 and '-', else ErrInvalid.
func CheckName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("%w: name %.80q: need 1 to %d characters", ErrInvalid, name, MaxName)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%w: name %q: only a-z, 0-9 and '-'", ErrInvalid, name)
		}
	}
	return nil
}

// Validate checks what can be checked without the machine; all runtimes call it
// first in Start. The error matches ErrInvalid.
func (s Spec) Validate() error {
	checks := []func() error{
		func() error { return CheckName(s.Name) },
		s.checkNetwork, s.checkLabels, s.checkCommand, s.checkEnv, s.checkResources, s.checkMounts,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s Spec) checkNetwork() error {
	if s.Network != "" {
		if err := CheckName(s.Network); err != nil {
			return err
		}
	}
	if s.Service != "" {
		if err := CheckName(s.Service); err != nil {
			return err
		}
	}
	if len(s.Hostname) > MaxName || strings.ContainsAny(s.Hostname, "\x00\n\r\t /") {
		return fmt.Errorf("%w: hostname %.80q", ErrInvalid, s.Hostname)
	}
	if s.Image == "" {
		return fmt.Errorf("%w: no image", ErrInvalid)
	}
	return nil
}

func (s Spec) checkLabels() error {
	if len(s.Labels) > MaxLabels {
		return fmt.Errorf("%w: %d labels, at most %d", ErrInvalid, len(s.Labels), MaxLabels)
	}
	for k, v := range s.Labels {
		if k == "" || len(k)+len(v) > MaxLabelBytes {
			return fmt.Errorf("%w: label %.80q: name missing or over %d bytes", ErrInvalid, k, MaxLabelBytes)
		}
	}
	return nil
}

func (s Spec) checkCommand() error {
	if len(s.Entrypoint)+len(s.Args) > MaxArgs {
		return fmt.Errorf("%w: command of %d words, at most %d", ErrInvalid, len(s.Entrypoint)+len(s.Args), MaxArgs)
	}
	for _, list := range [][]string{s.Entrypoint, s.Args} {
		for _, w := range list {
			if len(w) > MaxArgBytes || strings.ContainsRune(w, 0) {
				return fmt.Errorf("%w: command word too long or with a zero byte", ErrInvalid)
			}
		}
	}
	return nil
}

func (s Spec) checkEnv() error {
	if len(s.Env) > MaxEnv {
		return fmt.Errorf("%w: %d environment entries, at most %d", ErrInvalid, len(s.Env), MaxEnv)
	}
	for i, e := range s.Env {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || len(e) > MaxArgBytes || strings.ContainsRune(e, 0) {
			return fmt.Errorf("%w: environment entry %d is not NAME=VALUE", ErrInvalid, i)
		}
	}
	return nil
}

func (s Spec) checkResources() error {
	r := s.Resources
	if r.MemoryBytes > 1<<62 || r.DiskBytes > 1<<62 || r.LogBytes > 1<<62 || r.MilliCores > 1<<32 || r.PIDs < 0 {
		return fmt.Errorf("%w: resources out of range", ErrInvalid)
	}
	return nil
}

// MemoryLimit is the limit that runtimes set: MemoryBytes, at least
// [MinMemoryBytes]; 0 for none.
func (r Resources) MemoryLimit() uint64 {
	if r.MemoryBytes == 0 {
		return 0
	}
	return max(r.MemoryBytes, MinMemoryBytes)
}

func (s Spec) checkMounts() error {
	if len(s.Mounts) > MaxMounts {
		return fmt.Errorf("%w: %d mounts, at most %d", ErrInvalid, len(s.Mounts), MaxMounts)
	}
	seen := make(map[string]bool, len(s.Mounts))
	for _, m := range s.Mounts {
		if err := m.check(); err != nil {
			return err
		}
		if seen[m.Target] {
			return fmt.Errorf("%w: two mounts at %q", ErrInvalid, m.Target)
		}
		seen[m.Target] = true
	}
	return nil
}

func (m Mount) check() error {
	t := m.Target
	if !path.IsAbs(t) || path.Clean(t) != t || t == "/" || strings.ContainsRune(t, 0) {
		return fmt.Errorf("%w: mount target %.80q: need a clean absolute path", ErrInvalid, t)
	}
	for _, kernel := range []string{"/proc", "/sys", "/dev"} {
		if (t == kernel || strings.HasPrefix(t, kernel+"/")) && (t != "/dev/shm" || !m.Tmpfs) {
			return fmt.Errorf("%w: mount target %q belongs to the kernel", ErrInvalid, t)
		}
	}
	if m.Tmpfs == (m.Volume != "") {
		return fmt.Errorf("%w: mount %q: need exactly one of volume and tmpfs", ErrInvalid, t)
	}
	if m.Tmpfs {
		return nil
	}
	return CheckName(m.Volume)
}

// String says that there are credentials, and for which host.
func (c Credentials) String() string { return "credentials(" + c.Host + ", redacted)" }

// GoString is as String.
func (c Credentials) GoString() string { return c.String() }

// Format prints as String for every verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// LogValue keeps user name and password out of logs.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON gives the printing form; credentials do not leave this way.
func (c Credentials) MarshalJSON() ([]byte, error) { return []byte(fmt.Sprintf("%q", c.String())), nil }
