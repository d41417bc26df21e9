package machine

import (
	"encoding/binary"

	"github.com/moorage-dev/moorage/market"
)

// AppendKey appends the binary key: height, kind, ID, so that timers sort by
// the height at which they are due.
func (t Timer) AppendKey(b []byte) []byte {
	b = append(binary.BigEndian.AppendUint64(b, uint64(t.Height)), byte(t.Kind))
	if t.Kind == TimerRetainer {
		return t.Retainer.AppendKey(b)
	}
	return t.ID.AppendKey(b)
}

// AppendKey appends the binary key: kind, then the parts of the ID in the order
// by which the index is read.
func (r Ref) AppendKey(b []byte) []byte {
	b = append(b, byte(r.Kind))
	switch r.Kind {
	case RefLiveBid, RefProviderBid:
		return r.ID.OrderID.AppendKey(r.ID.Provider.AppendKey(b))
	case RefOpenRetainer, RefProviderRetainer:
		return r.Retainer.AppendKey(r.Retainer.Provider.AppendKey(b))
	default:
		return r.ID.AppendKey(b)
	}
}

// key returns the binary key of k.
func key(k Key) []byte { return k.AppendKey(nil) }

// refPrefix returns the key prefix of the part of an index that belongs to
// parts, which are nested: a provider, or an owner, or a deployment, and so on.
// Without parts it is the whole index.
func refPrefix(kind RefKind, parts ...Key) []byte {
	b := []byte{byte(kind)}
	for _, p := range parts {
		b = p.AppendKey(b)
	}
	return b
}

// orderTimer returns the timer of an open order that expires.
func orderTimer(o market.Order) Timer {
	return Timer{Height: o.ExpiresAt, Kind: TimerOrder, ID: o.ID}
}

// accountTimer returns the timer of an account.
func accountTimer(height int64, id market.DeploymentID) Timer {
	t := Timer{Height: height, Kind: TimerAccount}
	t.ID.DeploymentID = id
	return t
}
