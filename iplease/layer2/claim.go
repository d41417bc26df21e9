package layer2

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

// entry is what the hosts agree on about one claim.
type entry struct {
	driver.Announcement
	// Generation grows when a claim that was withdrawn is applied again.
	Generation uint64
	Withdrawn  bool `json:",omitempty"`
}

// version orders what is known of a claim.
type version struct {
	Generation uint64
	Withdrawn  bool
	Revision   uint64
}

func (e entry) version() version { return version{e.Generation, e.Withdrawn, e.Revision} }

// compare orders versions: a withdrawal is after every revision of its
// generation.
func (v version) compare(o version) int {
	withdrawn := func(v version) int {
		if v.Withdrawn {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(v.Generation, o.Generation), withdrawn(v)-withdrawn(o), cmp.Compare(v.Revision, o.Revision))
}

// holding is what a host says about a claim that it answers for.
type holding struct {
	Egress       bool   `json:",omitempty"`
	EgressReason string `json:",omitempty"`
	// Contested says who else answers; "" if nobody.
	Contested string `json:",omitempty"`
}

// claim is what this host knows of one claim.
type claim struct {
	entry
	// bound is what this host answers with; nil when it does not.
	bound *entry
	// tried is the version of the last attempt to make the rules so, and trouble why
	// it failed.
	tried   version
	trouble error
	// taking says that this host is about to answer: it asks the others. placing is
	// the last step of it, which cannot be called off.
	taking, placing bool
	// yield says that another host asked for it and shall have it.
	yield bool
	// why says for a person why nobody answers, as far as this host knows; broken
	// that somebody else has the address. retry is when to try again.
	why    string
	broken bool
	retry  time.Time
	// contested says by whom, until when; defended is when it was answered last.
	contested       string
	contestedBy     string // the host, if it is one of ours
	contestedUntil  time.Time
	defended        time.Time
	egress          bool
	egressTrouble   string
	forgettableFrom time.Time // of one that is withdrawn
}

// here reports whether this host answers, or cannot be stopped from answering.
func (c *claim) here() bool { return c.bound != nil || c.placing }

// weight is the rank of a host for a claim: the highest answers (rendezvous
// hashing, Thaler and Ravishankar 1998).
func weight(host string, id iplease.ClaimID) uint64 {
	sum := sha256.Sum256([]byte(host + "\x00" + id.String()))
	return binary.BigEndian.Uint64(sum[:])
}

// choose says which of the hosts that live answers for a claim; holders are those
// that do already. "" when none lives.
func choose(a driver.Announcement, live, holders []string) string {
	able := make([]string, 0, len(live))
	for _, h := range live {
		if slices.ContainsFunc(a.Backends, func(b driver.Backend) bool { return b.Node == h || b.Node == "" }) {
			able = append(able, h)
		}
	}
	if len(able) == 0 {
		able = live
	}
	var keep []string
	for _, h := range able {
		if slices.Contains(holders, h) {
			keep = append(keep, h)
		}
	}
	if len(keep) > 0 {
		able = keep
	}
	best := ""
	for _, h := range able {
		if best == "" || cmp.Or(cmp.Compare(weight(h, a.Claim), weight(best, a.Claim)), cmp.Compare(h, best)) > 0 {
			best = h
		}
	}
	return best
}
