package host

import (
	"fmt"
	"syscall"
)

// memoryBytes is the machine's main memory.
func memoryBytes() (uint64, error) {
	var s syscall.Sysinfo_t
	if err := syscall.Sysinfo(&s); err != nil {
		return 0, fmt.Errorf("sysinfo: %w", err)
	}
	return uint64(s.Totalram) * uint64(s.Unit), nil //nolint:unconvert // narrower on 32-bit machines
}

// diskBytes is what is free for a program on the disk of dir.
func diskBytes(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}
