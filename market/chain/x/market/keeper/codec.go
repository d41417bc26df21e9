package keeper

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	collcodec "cosmossdk.io/collections/codec"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
	"github.com/moorage-dev/moorage/market/machine"
)

var (
	_ collcodec.KeyCodec[market.OrderID]      = keyCodec[market.OrderID]{}
	_ collcodec.ValueCodec[market.Deployment] = valueCodec[market.Deployment, marketpb.Deployment, *marketpb.Deployment]{}
)

// keyCodec stores a key in the market's own binary form, which ends itself, so
// that keys of parts are prefixes of the keys of what belongs to them.
type keyCodec[K machine.Key] struct {
	name   string
	decode func(*keyReader) K
}

// Encode implements codec.KeyCodec.
func (keyCodec[K]) Encode(buffer []byte, key K) (int, error) {
	return len(key.AppendKey(buffer[:0])), nil
}

// Decode implements codec.KeyCodec.
func (c keyCodec[K]) Decode(buffer []byte) (int, K, error) {
	r := keyReader{rest: buffer}
	k := c.decode(&r)
	if r.bad {
		return 0, k, fmt.Errorf("keeper: %s key %x: %w", c.name, buffer, collcodec.ErrEncoding)
	}
	return len(buffer) - len(r.rest), k, nil
}

// Size implements codec.KeyCodec.
func (keyCodec[K]) Size(key K) int { return len(key.AppendKey(nil)) }

// EncodeJSON implements codec.KeyCodec.
func (keyCodec[K]) EncodeJSON(key K) ([]byte, error) { return json.Marshal(key) }

// DecodeJSON implements codec.KeyCodec.
func (keyCodec[K]) DecodeJSON(b []byte) (k K, err error) { return k, json.Unmarshal(b, &k) }

// Stringify implements codec.KeyCodec.
func (keyCodec[K]) Stringify(key K) string { return fmt.Sprint(key) }

// KeyType implements codec.KeyCodec.
func (c keyCodec[K]) KeyType() string { return "moorage/" + c.name }

// EncodeNonTerminal implements codec.KeyCodec.
func (c keyCodec[K]) EncodeNonTerminal(buffer []byte, key K) (int, error) {
	return c.Encode(buffer, key)
}

// DecodeNonTerminal implements codec.KeyCodec.
func (c keyCodec[K]) DecodeNonTerminal(buffer []byte) (int, K, error) { return c.Decode(buffer) }

// SizeNonTerminal implements codec.KeyCodec.
func (c keyCodec[K]) SizeNonTerminal(key K) int { return c.Size(key) }

// keyReader takes a binary key apart and remembers whether it was too short.
type keyReader struct {
	rest []byte
	bad  bool
}

func (r *keyReader) take(n int) []byte {
	if len(r.rest) < n {
		r.bad = true
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *keyReader) text() string {
	n := bytes.IndexByte(r.rest, 0)
	if n < 0 {
		r.bad = true
		return ""
	}
	return string(r.take(n + 1)[:n])
}

func (r *keyReader) u8() uint8   { return r.take(1)[0] }
func (r *keyReader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *keyReader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *keyReader) address() market.Address { return market.Address(r.text()) }

func (r *keyReader) deployment() market.DeploymentID {
	return market.DeploymentID{Owner: r.address(), DSeq: r.u64()}
}

func (r *keyReader) group() market.GroupID {
	return market.GroupID{DeploymentID: r.deployment(), GSeq: r.u32()}
}

func (r *keyReader) order() market.OrderID {
	return market.OrderID{GroupID: r.group(), OSeq: r.u32()}
}

func (r *keyReader) bid() market.BidID {
	return market.BidID{OrderID: r.order(), Provider: r.address()}
}

func (r *keyReader) lease() market.LeaseID { return r.bid().Lease() }

func (r *keyReader) certificate() market.CertificateID {
	return market.CertificateID{Owner: r.address(), Serial: r.text()}
}

func (r *keyReader) audit() market.AuditID {
	return market.AuditID{Provider: r.address(), Auditor: r.address()}
}

func (r *keyReader) timer() machine.Timer {
	t := machine.Timer{Height: int64(r.u64()), Kind: machine.TimerKind(r.u8())}
	if t.Kind == machine.TimerRetainer {
		t.Retainer = r.retainer()
	} else {
		t.ID = r.order()
	}
	return t
}

func (r *keyReader) retainer() market.RetainerID {
	return market.RetainerID{Owner: r.address(), Provider: r.address(), Kind: r.text(), Name: r.text()}
}

func (r *keyReader) ref() machine.Ref {
	ref := machine.Ref{Kind: machine.RefKind(r.u8())}
	switch ref.Kind {
	case machine.RefLiveBid, machine.RefProviderBid:
		ref.ID.Provider = r.address()
		ref.ID.OrderID = r.order()
	case machine.RefOpenRetainer, machine.RefProviderRetainer:
		r.address() // the provider leads
		ref.Retainer = r.retainer()
	default:
		ref.ID = r.lease()
	}
	return ref
}

// wire is a pointer to a generated message.
type wire[P any] interface {
	*P
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// valueCodec stores a value as its generated message.
type valueCodec[V, P any, W wire[P]] struct {
	from func(V) P
	to   func(P) (V, error)
}

// Encode implements codec.ValueCodec.
func (c valueCodec[V, P, W]) Encode(v V) ([]byte, error) {
	p := c.from(v)
	return W(&p).Marshal()
}

// Decode implements codec.ValueCodec.
func (c valueCodec[V, P, W]) Decode(b []byte) (V, error) {
	var p P
	if err := W(&p).Unmarshal(b); err != nil {
		var zero V
		return zero, fmt.Errorf("keeper: %T: %w: %w", zero, collcodec.ErrEncoding, err)
	}
	return c.to(p)
}

// EncodeJSON implements codec.ValueCodec.
func (valueCodec[V, P, W]) EncodeJSON(v V) ([]byte, error) { return json.Marshal(v) }

// DecodeJSON implements codec.ValueCodec.
func (valueCodec[V, P, W]) DecodeJSON(b []byte) (v V, err error) { return v, json.Unmarshal(b, &v) }

// Stringify implements codec.ValueCodec.
func (valueCodec[V, P, W]) Stringify(v V) string { return fmt.Sprint(v) }

// ValueType implements codec.ValueCodec.
func (valueCodec[V, P, W]) ValueType() string { return fmt.Sprintf("moorage/%T", *new(V)) }
