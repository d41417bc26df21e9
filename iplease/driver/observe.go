package driver

import "slices"

// Observation is what an announcer knows when it makes a [Status] of an
// announcement with [Observe].
type Observation struct {
	// Node answers for the addresses; "" when none does.
	Node string
	// Reason says why nobody answers, or what is wrong.
	Reason string
	// Broken says that the announcer does not just wait but failed.
	Broken bool
	// Reachable tells which backends the ports lead to; nil is all.
	Reachable func(Backend) bool
	// Egress tells whether connections of the backends leave from the addresses;
	// EgressReason why not.
	Egress       bool
	EgressReason string
}

// Observe makes the status of an announcement: a port is announced when its
// address is and a backend serves it. The status keeps a's slices.
func Observe(a Announcement, o Observation) Status {
	s := Status{Claim: a.Claim, Revision: a.Revision, State: Announced}
	for _, at := range a.Addresses {
		as := AddressStatus{Address: at, State: o.state(), Node: o.Node}
		if as.State != Announced {
			as.Reason = o.Reason
		}
		if a.Egress {
			as.Egress, as.EgressReason = o.Egress && o.Node != "", o.EgressReason
		}
		s.Addresses = append(s.Addresses, as)
		s.State = worse(s.State, as.State)
		for _, p := range a.Ports {
			ps := PortStatus{Address: at, Port: p, State: as.State, Reason: as.Reason}
			if ps.State == Announced && !o.served(a.Serving(p, at)) {
				ps.State, ps.Reason = Pending, "no replica of "+p.Service+" is reached from this address"
			}
			s.Ports = append(s.Ports, ps)
			s.State = worse(s.State, ps.State)
		}
	}
	return s
}

func (o Observation) state() State {
	switch {
	case o.Broken:
		return Failing
	case o.Node == "":
		return Pending
	}
	return Announced
}

func (o Observation) served(backends []Backend) bool {
	return len(backends) > 0 && (o.Reachable == nil || slices.ContainsFunc(backends, o.Reachable))
}

// worse is the one of two states that counts.
func worse(a, b State) State {
	for _, s := range []State{Failing, Pending} {
		if a == s || b == s {
			return s
		}
	}
	return a
}
