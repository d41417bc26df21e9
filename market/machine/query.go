package machine

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"iter"

	"github.com/moorage-dev/moorage/market"
)

// MaxScan bounds the rows a list reads for one page. A page that meets the
// bound ends early, with a token.
const MaxScan = 10_000

// maxTokenLength bounds a page token: the longest key has three addresses, a kind
// and a name.
const maxTokenLength = 1024

// listing says how to read one list: where its keys are and which rows count.
type listing[V any] struct {
	prefix []byte
	// rows yields rows with their place in the key order, which a token names.
	rows  func(prefix, after []byte) iter.Seq2[row[V], error]
	match func(V) bool
}

type row[V any] struct {
	key   []byte
	value V
}

// page reads one page. It returns the token of the page that follows, "" when
// the list is at its end.
func (l listing[V]) page(p market.Page) ([]V, string, error) {
	limit, err := pageLimit(p)
	if err != nil {
		return nil, "", err
	}
	after, err := readToken(p.Token, l.prefix)
	if err != nil {
		return nil, "", err
	}
	var out []V
	var last []byte
	scanned, size := 0, 0
	for r, err := range l.rows(l.prefix, after) {
		if err != nil {
			return nil, "", err
		}
		if len(out) == limit || scanned == MaxScan || size >= MaxPageBytes {
			return out, writeToken(last), nil
		}
		scanned++
		last = r.key
		if l.match == nil || l.match(r.value) {
			out = append(out, r.value)
			size += sizeOf(r.value)
		}
	}
	return out, "", nil
}

func pageLimit(p market.Page) (int, error) {
	switch {
	case p.Limit == 0:
		return market.DefaultPageLimit, nil
	case p.Limit < 0 || p.Limit > market.MaxPageLimit:
		return 0, market.Refuse(market.ErrInvalid, "page-limit", "limit %d is not within 1 to %d", p.Limit, market.MaxPageLimit)
	}
	return p.Limit, nil
}

func writeToken(k []byte) string { return base64.RawURLEncoding.EncodeToString(k) }

// readToken returns the key a token names. A token of another list, which would
// lead outside the prefix, is refused.
func readToken(token string, prefix []byte) ([]byte, error) {
	if token == "" {
		return nil, nil
	}
	bad := market.Refuse(market.ErrInvalid, "page-token", "the token is not one of this list")
	if len(token) > maxTokenLength {
		return nil, bad
	}
	k, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || !bytes.HasPrefix(k, prefix) {
		return nil, bad
	}
	return k, nil
}

// direct lists a table by its own keys.
func direct[K Key, V any](t Table[K, V], id func(V) K) func(prefix, after []byte) iter.Seq2[row[V], error] {
	return func(prefix, after []byte) iter.Seq2[row[V], error] {
		return func(yield func(row[V], error) bool) {
			for v, err := range t.Scan(prefix, after) {
				if err != nil {
					yield(row[V]{}, err)
					return
				}
				if !yield(row[V]{key(id(v)), v}, nil) {
					return
				}
			}
		}
	}
}

// via lists a table through an index.
func via[K Key, V any](refs Table[Ref, Ref], t Table[K, V], id func(Ref) K) func(prefix, after []byte) iter.Seq2[row[V], error] {
	return func(prefix, after []byte) iter.Seq2[row[V], error] {
		return func(yield func(row[V], error) bool) {
			for ref, err := range refs.Scan(prefix, after) {
				if err != nil {
					yield(row[V]{}, err)
					return
				}
				v, err := t.Get(id(ref))
				if err != nil {
					yield(row[V]{}, fmt.Errorf("machine: index %d points to %v: %w", ref.Kind, id(ref), err))
					return
				}
				if !yield(row[V]{key(ref), v}, nil) {
					return
				}
			}
		}
	}
}

// orderParts returns the key prefix of the parts of an order's ID that a filter
// sets, under a first prefix. A part counts only when those before it are set.
func orderParts(b []byte, owner market.Address, dseq uint64, gseq, oseq uint32) []byte {
	id := market.OrderID{GroupID: market.GroupID{DeploymentID: market.DeploymentID{Owner: owner, DSeq: dseq}, GSeq: gseq}, OSeq: oseq}
	switch {
	case owner == "":
		return b
	case dseq == 0:
		return owner.AppendKey(b)
	case gseq == 0:
		return id.DeploymentID.AppendKey(b)
	case oseq == 0:
		return id.GroupID.AppendKey(b)
	}
	return id.AppendKey(b)
}

// checkParts refuses a filter that names a part of an ID and not those before it:
// it would select everything.
func checkParts(owner market.Address, dseq uint64, gseq, oseq uint32) error {
	if owner == "" && dseq != 0 || dseq == 0 && gseq != 0 || gseq == 0 && oseq != 0 {
		return market.Refuse(market.ErrInvalid, "filter-parts", "owner %q, dseq %d, gseq %d, oseq %d: a part counts only with all before it", owner, dseq, gseq, oseq)
	}
	return nil
}

// oneOrder reports whether the parts name one order.
func oneOrder(owner market.Address, dseq uint64, gseq, oseq uint32) bool {
	return owner != "" && dseq != 0 && gseq != 0 && oseq != 0
}

// ListDeployments returns a page of the deployments that match, sorted by ID.
// Active ones have an index: asking for them costs nothing for closed ones.
func (s State) ListDeployments(f market.DeploymentFilter, p market.Page) ([]market.Deployment, string, error) {
	if err := checkParts(f.Owner, f.DSeq, 0, 0); err != nil {
		return nil, "", err
	}
	if f.State == market.DeploymentActive {
		return listing[market.Deployment]{
			prefix: orderParts(refPrefix(RefActiveDeployment), f.Owner, f.DSeq, 0, 0),
			rows:   via(s.Refs, s.Deployments, func(r Ref) market.DeploymentID { return r.ID.DeploymentID }),
		}.page(p)
	}
	return listing[market.Deployment]{
		prefix: orderParts(nil, f.Owner, f.DSeq, 0, 0),
		rows:   direct(s.Deployments, func(d market.Deployment) market.DeploymentID { return d.ID }),
		match:  func(d market.Deployment) bool { return f.State == 0 || d.State == f.State },
	}.page(p)
}

// ListGroups returns all groups of a deployment, in order. An unknown
// deployment gives an error wrapping [market.ErrNotFound].
func (s State) ListGroups(id market.DeploymentID) ([]market.Group, error) {
	if _, err := s.Deployments.Get(id); err != nil {
		return nil, err
	}
	return collect(s.Groups.Scan(key(id), nil))
}

// ListOrders returns a page of the orders that match, sorted by ID. Open orders
// have an index: asking for them costs nothing for closed ones.
func (s State) ListOrders(f market.OrderFilter, p market.Page) ([]market.Order, string, error) {
	if err := checkParts(f.Owner, f.DSeq, f.GSeq, f.OSeq); err != nil {
		return nil, "", err
	}
	if f.State == market.OrderOpen {
		return listing[market.Order]{
			prefix: orderParts(refPrefix(RefOpenOrder), f.Owner, f.DSeq, f.GSeq, f.OSeq),
			rows:   via(s.Refs, s.Orders, func(r Ref) market.OrderID { return r.ID.OrderID }),
		}.page(p)
	}
	return listing[market.Order]{
		prefix: orderParts(nil, f.Owner, f.DSeq, f.GSeq, f.OSeq),
		rows:   direct(s.Orders, func(o market.Order) market.OrderID { return o.ID }),
		match:  func(o market.Order) bool { return f.State == 0 || o.State == f.State },
	}.page(p)
}

// ListBids returns a page of the bids that match. They are sorted by ID; those
// of one provider by order. Open and won ones have indexes.
func (s State) ListBids(f market.BidFilter, p market.Page) ([]market.Bid, string, error) {
	if err := checkParts(f.Owner, f.DSeq, f.GSeq, f.OSeq); err != nil {
		return nil, "", err
	}
	match := func(b market.Bid) bool {
		return (f.State == 0 || b.State == f.State) && (f.Provider == "" || b.ID.Provider == f.Provider)
	}
	rows := via(s.Refs, s.Bids, func(r Ref) market.BidID { return r.ID.Bid() })
	if f.Provider == "" || oneOrder(f.Owner, f.DSeq, f.GSeq, f.OSeq) {
		l := listing[market.Bid]{
			prefix: orderParts(nil, f.Owner, f.DSeq, f.GSeq, f.OSeq),
			rows:   direct(s.Bids, func(b market.Bid) market.BidID { return b.ID }),
			match:  match,
		}
		switch f.State {
		case market.BidOpen:
			l.prefix, l.rows = orderParts(refPrefix(RefOpenBid), f.Owner, f.DSeq, f.GSeq, f.OSeq), rows
		case market.BidWon: // has a live lease, and that an open payment
			l.prefix, l.rows = orderParts(refPrefix(RefOpenPayment), f.Owner, f.DSeq, f.GSeq, f.OSeq), rows
		default: // no index
		}
		return l.page(p)
	}
	kind := RefProviderBid
	if f.State == market.BidOpen || f.State == market.BidWon {
		kind = RefLiveBid
	}
	return listing[market.Bid]{
		prefix: orderParts(refPrefix(kind, f.Provider), f.Owner, f.DSeq, f.GSeq, 0),
		rows:   rows,
		match:  match,
	}.page(p)
}

// ListLeases returns a page of the leases that match, sorted as by
// [State.ListBids]. Live ones have indexes.
func (s State) ListLeases(f market.LeaseFilter, p market.Page) ([]market.Lease, string, error) {
	if err := checkParts(f.Owner, f.DSeq, f.GSeq, f.OSeq); err != nil {
		return nil, "", err
	}
	match := func(l market.Lease) bool {
		return (f.State == 0 || l.State == f.State) && (!f.Live || !l.State.Terminal()) && (f.Provider == "" || l.ID.Provider == f.Provider)
	}
	live := f.Live || f.State == market.LeaseActive || f.State == market.LeaseClosing
	if f.Provider == "" || oneOrder(f.Owner, f.DSeq, f.GSeq, f.OSeq) {
		l := listing[market.Lease]{
			prefix: orderParts(nil, f.Owner, f.DSeq, f.GSeq, f.OSeq),
			rows:   direct(s.Leases, func(l market.Lease) market.LeaseID { return l.ID }),
			match:  match,
		}
		if live {
			l.prefix = orderParts(refPrefix(RefOpenPayment), f.Owner, f.DSeq, f.GSeq, f.OSeq)
			l.rows = via(s.Refs, s.Leases, func(r Ref) market.LeaseID { return r.ID })
		}
		return l.page(p)
	}
	kind := RefProviderBid
	if live {
		kind = RefLiveBid
	}
	rows := via(s.Refs, optional[market.LeaseID, market.Lease]{s.Leases}, func(r Ref) market.LeaseID { return r.ID })
	return listing[market.Lease]{
		prefix: orderParts(refPrefix(kind, f.Provider), f.Owner, f.DSeq, f.GSeq, 0),
		rows:   rows,
		match:  func(l market.Lease) bool { return l.State != 0 && match(l) },
	}.page(p)
}

// ListRetainers returns a page of the retainers that match, sorted by ID; those
// of one provider by owner, through an index.
func (s State) ListRetainers(f market.RetainerFilter, p market.Page) ([]market.Retainer, string, error) {
	match := func(r market.Retainer) bool {
		return (f.State == 0 || r.State == f.State) && (f.Provider == "" || r.ID.Provider == f.Provider) && (f.Kind == "" || r.ID.Kind == f.Kind) &&
			(f.Name == "" || r.ID.Name == f.Name)
	}
	if f.Provider == "" || f.Owner != "" {
		prefix := orderParts(nil, f.Owner, 0, 0, 0)
		if f.Provider != "" {
			prefix = f.Provider.AppendKey(prefix)
		}
		if f.Provider != "" && f.Kind != "" && f.Name != "" {
			prefix = key(market.RetainerID{Owner: f.Owner, Provider: f.Provider, Kind: f.Kind, Name: f.Name})
		}
		return listing[market.Retainer]{
			prefix: prefix,
			rows:   direct(s.Retainers, func(r market.Retainer) market.RetainerID { return r.ID }),
			match:  match,
		}.page(p)
	}
	kind := RefProviderRetainer
	if f.State == market.RetainerOpen {
		kind = RefOpenRetainer
	}
	return listing[market.Retainer]{
		prefix: refPrefix(kind, f.Provider),
		rows:   via(s.Refs, s.Retainers, func(r Ref) market.RetainerID { return r.Retainer }),
		match:  match,
	}.page(p)
}

// optional gives a zero row for one that does not exist: most bids never become
// a lease.
type optional[K Key, V any] struct{ Table[K, V] }

// Get implements [Table].
func (o optional[K, V]) Get(k K) (V, error) {
	v, ok, err := lookup(o.Table, k)
	if !ok {
		var zero V
		return zero, err
	}
	return v, nil
}

// ListProviders returns a page of all providers, sorted by address.
func (s State) ListProviders(p market.Page) ([]market.Provider, string, error) {
	return listing[market.Provider]{
		rows: direct(s.Providers, func(v market.Provider) market.Address { return v.Owner }),
	}.page(p)
}

// ListCertificates returns a page of the certificates that match, revoked ones too,
// sorted by owner and by serial number as text.
func (s State) ListCertificates(f market.CertificateFilter, p market.Page) ([]market.Certificate, string, error) {
	if f.Owner == "" && f.Serial != "" {
		return nil, "", market.Refuse(market.ErrInvalid, "filter-parts", "serial %q: it counts only with an owner", f.Serial)
	}
	prefix := orderParts(nil, f.Owner, 0, 0, 0)
	if f.Serial != "" {
		prefix = key(market.CertificateID{Owner: f.Owner, Serial: f.Serial})
	}
	return listing[market.Certificate]{
		prefix: prefix,
		rows:   direct(s.Certificates, func(c market.Certificate) market.CertificateID { return c.ID }),
		match:  func(c market.Certificate) bool { return f.State == 0 || c.State == f.State },
	}.page(p)
}

// ListAudits returns a page of what auditors say of providers, sorted by provider
// and auditor; the words of one auditor through an index.
func (s State) ListAudits(f market.AuditFilter, p market.Page) ([]market.Audit, string, error) {
	if f.Provider == "" && f.Auditor != "" {
		return listing[market.Audit]{
			prefix: refPrefix(RefAuditorAudit, f.Auditor),
			rows: via(s.Refs, s.Audits, func(r Ref) market.AuditID {
				return market.AuditID{Provider: r.ID.Provider, Auditor: r.ID.Owner}
			}),
		}.page(p)
	}
	prefix := orderParts(nil, f.Provider, 0, 0, 0)
	if f.Auditor != "" {
		prefix = key(market.AuditID(f))
	}
	return listing[market.Audit]{
		prefix: prefix,
		rows:   direct(s.Audits, func(a market.Audit) market.AuditID { return a.ID }),
	}.page(p)
}
