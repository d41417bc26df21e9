package memruntime

import (
	"context"
	"time"
)

// Op names a method for [Fault] and [Machine.Calls].
type Op string

// Operations. OpLogs and OpWatch fail as the first element of their sequence.
const (
	OpPull          Op = "pull"
	OpStart         Op = "start"
	OpStop          Op = "stop"
	OpRemove        Op = "remove"
	OpInspect       Op = "inspect"
	OpList          Op = "list"
	OpWatch         Op = "watch"
	OpLogs          Op = "logs"
	OpExec          Op = "exec"
	OpEnsureNetwork Op = "ensure network"
	OpDeleteNetwork Op = "delete network"
	OpSetHosts      Op = "set hosts"
	OpSetPolicy     Op = "set policy"
	OpRemoveVolume  Op = "remove volume"
	OpVolumes       Op = "volumes"
)

// Fault makes calls fail or take time.
type Fault struct {
	// Op is the method; Name the container, image reference, network or volume it
	// is called with, "" for any.
	Op   Op
	Name string
	// Delay passes before the call does anything; it ends early with the context.
	Delay time.Duration
	// Err is returned instead of doing anything; nil with a Delay just delays.
	Err error
	// After lets the call do its work first and loses only the answer.
	After bool
	// Times is how many calls are hit; 0 is all until [Machine.Heal].
	Times int
}

// Inject adds a fault. The first that fits a call is used.
func (m *Machine) Inject(f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, f)
}

// Heal removes all faults.
func (m *Machine) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = nil
}

// enter counts a call and applies a fault. The result after, if not nil, takes
// the place of the call's own success.
func (m *Machine) enter(ctx context.Context, op Op, name string) (after, err error) {
	f := m.match(op, name)
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if f.After {
		return f.Err, nil
	}
	return nil, f.Err
}

func (m *Machine) match(op Op, name string) Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[op]++
	for i, f := range m.faults {
		if f.Op != op || f.Name != "" && f.Name != name {
			continue
		}
		if f.Times == 1 {
			m.faults = append(m.faults[:i:i], m.faults[i+1:]...)
		} else if f.Times > 1 {
			m.faults[i].Times--
		}
		return f
	}
	return Fault{}
}
