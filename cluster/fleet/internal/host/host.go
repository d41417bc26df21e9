// Package host finds out what this machine has.
package host

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/moorage-dev/moorage/cluster/inventory"
)

// Classes are the storage classes that a host offers from its disk.
func Classes() []string { return []string{"beta1", "beta2", "beta3", "default"} }

// Node describes this machine as a node whose disk is the one that dir is on,
// less a reserve in percent that is kept for the system. Half of the free disk is
// ephemeral storage, the other half is divided among [Classes]. What was free at
// the first call is remembered in dir, because later the workloads themselves
// use some of it.
func Node(dir string, reservePercent uint64) (inventory.Node, error) {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "local"
	}
	memory, err := memoryBytes()
	if err != nil {
		return inventory.Node{}, err
	}
	disk, err := remembered(dir)
	if err != nil {
		return inventory.Node{}, err
	}
	keep := 100 - min(reservePercent, 100)
	part := func(n uint64) uint64 { return n / 100 * keep }
	q := inventory.Quantities{
		MilliCores:      uint64(runtime.NumCPU()) * 10 * keep,
		MemoryBytes:     part(memory),
		EphemeralBytes:  part(disk) / 2,
		PersistentBytes: make(map[string]uint64),
	}
	for _, class := range Classes() {
		q.PersistentBytes[class] = part(disk) / 2 / uint64(len(Classes()))
	}
	return inventory.Node{Name: name, Architecture: runtime.GOARCH, Allocatable: q}, nil
}

// diskFile remembers how many bytes were free on the disk.
const diskFile = "disk-bytes"

// remembered returns the most that was ever seen free on the disk of dir.
func remembered(dir string) (uint64, error) {
	now, err := diskBytes(dir)
	if err != nil {
		return 0, err
	}
	name := filepath.Join(dir, diskFile)
	if b, err := os.ReadFile(name); err == nil {
		if before, err := strconv.ParseUint(string(b), 10, 64); err == nil && before >= now {
			return before, nil
		}
	}
	const fileMode = 0o600
	return now, os.WriteFile(name, []byte(strconv.FormatUint(now, 10)), fileMode)
}
