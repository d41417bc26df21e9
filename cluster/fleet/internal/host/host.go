// Package host finds out what this machine has.
package host

import (
	"os"
	"runtime"

	"github.com/moorage-dev/moorage/cluster/inventory"
)

// Classes are the storage classes that a host offers from its disk.
func Classes() []string { return []string{"beta1", "beta2", "beta3", "default"} }

// Node describes this machine as a node whose disk is the one that dir is on,
// less a reserve in percent that is kept for the system. Half of the free disk is
// ephemeral storage, the other half is divided among [Classes].
func Node(dir string, reservePercent uint64) (inventory.Node, error) {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "local"
	}
	memory, err := memoryBytes()
	if err != nil {
		return inventory.Node{}, err
	}
	disk, err := diskBytes(dir)
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
