package tenant

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// NoBidsError means that an order got no bid in time. Refusals say why, as far
// as the providers tell.
type NoBidsError struct {
	Order market.OrderID
	// Waited is how long.
	Waited time.Duration
	// Refusals has the answer of each provider that was asked.
	Refusals []Refusal
	// more says that there are providers that were not asked.
	more bool
}

// everybodyRefuses reports that every provider of the market was asked and has
// reasons not to bid.
func (e *NoBidsError) everybodyRefuses() bool {
	for _, r := range e.Refusals {
		if r.Err != nil || len(r.Reasons) == 0 {
			return false
		}
	}
	return len(e.Refusals) > 0 && !e.more
}

// Refusal is one provider's answer to the question what it would bid.
type Refusal struct {
	Provider market.Address
	// Reasons are why it would not bid; none when it would, or could not be asked.
	Reasons []api.Reason
	// Err is why it could not be asked.
	Err error
}

// Error implements error.
func (e *NoBidsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "tenant: no provider bid on order %s within %s", e.Order, e.Waited)
	if len(e.Refusals) == 0 {
		b.WriteString("; there is no provider on this market")
	}
	for _, r := range e.Refusals {
		fmt.Fprintf(&b, "\n  provider %s: ", r.Provider)
		switch {
		case r.Err != nil:
			fmt.Fprintf(&b, "could not be asked: %s", r.Err)
		case len(r.Reasons) == 0:
			b.WriteString("would bid now: try again")
		}
		for i, reason := range r.Reasons {
			if i > 0 {
				b.WriteString("; ")
			}
			fmt.Fprintf(&b, "%s (%s)", reason.Detail, reason.Rule)
		}
	}
	return b.String()
}

// NotReadyError means that a lease did not run in time, or ended.
type NotReadyError struct {
	Status api.LeaseStatus
	Waited time.Duration
}

// Error implements error.
func (e *NotReadyError) Error() string {
	reason := e.Status.Reason
	if reason == "" {
		reason = "no reason given"
	}
	return fmt.Sprintf("tenant: lease %s is %s after %s: %s", e.Status.Lease, e.Status.Phase, e.Waited.Round(time.Second), reason)
}

// AwaitBids waits until every order has a bid and returns the one chosen for
// each, in the order of the orders. The error is a [*NoBidsError] when time is
// up.
func (t *Tenant) AwaitBids(ctx context.Context, orders []market.Order) ([]market.Bid, error) {
	wait, cancel := context.WithTimeout(ctx, t.cfg.BidTimeout)
	defer cancel()
	began := time.Now()
	for _, o := range orders {
		if err := t.awaitBid(wait, o); err != nil {
			if ctx.Err() == nil && wait.Err() != nil {
				return nil, t.noBids(ctx, o, began)
			}
			return nil, err
		}
	}
	if err := pause(ctx, t.cfg.BidGrace); err != nil {
		return nil, err
	}
	var all, chosen []market.Bid
	for _, o := range orders {
		bids, err := t.bids(ctx, o.ID)
		if err != nil {
			return nil, err
		}
		all = append(all, bids...)
		if len(bids) == 0 {
			return nil, t.noBids(ctx, o, began) // withdrawn meanwhile
		}
		bid, ok := t.cfg.Choose(o.ID, bids)
		if !ok {
			return nil, fmt.Errorf("tenant: none of the %d bids on %s was chosen: %w", len(bids), o.ID, market.ErrMismatch)
		}
		chosen = append(chosen, bid)
	}
	t.cfg.Progress(Step{Kind: StepBids, Orders: orders, Bids: all})
	return chosen, nil
}

// awaitBid waits for a first bid on an order. When every provider says that it
// would not bid, there is nothing to wait for.
func (t *Tenant) awaitBid(ctx context.Context, o market.Order) error {
	began, asked := time.Now(), false
	for {
		bids, err := t.bids(ctx, o.ID)
		if err != nil && !errors.Is(err, market.ErrUnavailable) {
			return err
		}
		if len(bids) > 0 {
			return nil
		}
		if !asked && time.Since(began) >= t.cfg.AskAfter {
			asked = true
			if none := t.noBids(ctx, o, began); none.everybodyRefuses() {
				return none
			}
		}
		if err := pause(ctx, t.cfg.PollInterval); err != nil {
			return err
		}
	}
}

func (t *Tenant) bids(ctx context.Context, id market.OrderID) ([]market.Bid, error) {
	f := market.BidFilter{Owner: id.Owner, DSeq: id.DSeq, GSeq: id.GSeq, OSeq: id.OSeq, State: market.BidOpen}
	var out []market.Bid
	list := func(page market.Page) ([]market.Bid, string, error) { return t.cfg.Market.Bids(ctx, f, page) }
	for b, err := range market.All(list) {
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// maxScreened bounds the providers asked for their reasons.
const maxScreened = 16

// noBids asks the providers why there is no bid.
func (t *Tenant) noBids(ctx context.Context, o market.Order, since time.Time) *NoBidsError {
	out := &NoBidsError{Order: o.ID}
	providers, more, err := t.cfg.Market.Providers(ctx, market.Page{Limit: maxScreened})
	if err != nil {
		out.Refusals = append(out.Refusals, Refusal{Err: err})
	}
	out.more = more != ""
	for _, p := range providers {
		r := Refusal{Provider: p.Owner}
		var offers []api.Offer
		gw, err := t.cfg.Dial(p)
		if err == nil {
			offers, err = gw.Screen(ctx, []market.GroupSpec{o.Spec})
		}
		r.Err = err
		for _, offer := range offers {
			r.Reasons = append(r.Reasons, offer.Reasons...)
		}
		out.Refusals = append(out.Refusals, r)
	}
	out.Waited = time.Since(since).Round(time.Second)
	return out
}

// manifestTimeout is how long a provider that has not seen its lease yet, or
// cannot be reached for a moment, is asked again.
const manifestTimeout = 30 * time.Second

// SendManifest sends the manifest to the provider of each lease.
func (t *Tenant) SendManifest(ctx context.Context, leases []market.LeaseID, m manifest.Manifest) error {
	sent := map[market.Address]bool{}
	for _, id := range leases {
		if sent[id.Provider] {
			continue
		}
		sent[id.Provider] = true
		if err := t.sendManifest(ctx, id, m); err != nil {
			return fmt.Errorf("tenant: send manifest to %s: %w", id.Provider, err)
		}
		t.cfg.Progress(Step{Kind: StepManifest, Deployment: id.DeploymentID, Leases: []market.LeaseID{id}})
	}
	return nil
}

func (t *Tenant) sendManifest(ctx context.Context, id market.LeaseID, m manifest.Manifest) error {
	deadline := time.Now().Add(manifestTimeout)
	for {
		gw, err := t.gateway(ctx, id.Provider) // each time: it may have moved
		if err != nil {
			return err
		}
		err = gw.PutManifest(ctx, id.DeploymentID, m)
		again := errors.Is(err, market.ErrNotFound) || errors.Is(err, market.ErrUnavailable)
		if err == nil || !again || time.Now().After(deadline) {
			return err
		}
		if err := pause(ctx, t.cfg.PollInterval); err != nil {
			return err
		}
	}
}

func (t *Tenant) gateway(ctx context.Context, owner market.Address) (Gateway, error) {
	p, err := t.cfg.Market.Provider(ctx, owner)
	if err != nil {
		return nil, err
	}
	return t.cfg.Dial(p)
}

// AwaitReady waits until every lease runs the manifest of that version with the
// numbers of replicas that are ordered now, and returns their statuses. The error is a [*NotReadyError] when time is up or the
// lease has closed.
func (t *Tenant) AwaitReady(ctx context.Context, leases []market.LeaseID, version market.Hash) ([]api.LeaseStatus, error) {
	wait, cancel := context.WithTimeout(ctx, t.cfg.ReadyTimeout)
	defer cancel()
	out := make([]api.LeaseStatus, len(leases))
	for i, id := range leases {
		var err error
		if out[i], err = t.awaitReady(wait, id, version); err != nil {
			if ctx.Err() == nil && wait.Err() != nil {
				return out, &NotReadyError{out[i], t.cfg.ReadyTimeout}
			}
			return out, err
		}
	}
	t.cfg.Progress(Step{Kind: StepReady, Leases: leases})
	return out, nil
}

func (t *Tenant) awaitReady(ctx context.Context, id market.LeaseID, version market.Hash) (api.LeaseStatus, error) {
	last := api.LeaseStatus{Lease: id, Phase: api.PhaseUnknown}
	began, failing := time.Now(), time.Time{}
	for {
		status, err := t.leaseStatus(ctx, id)
		switch {
		case errors.Is(err, market.ErrNotFound):
			if closed := t.closed(ctx, id); closed != "" {
				last.Phase, last.Reason = api.PhaseClosing, closed
				return last, &NotReadyError{last, time.Since(began)}
			}
		case err != nil && !errors.Is(err, market.ErrUnavailable):
			return last, err
		case err == nil:
			if !reflect.DeepEqual(last, status) {
				t.cfg.Progress(Step{Kind: StepStatus, Deployment: id.DeploymentID, Status: status})
			}
			last = status
			if status.Phase == api.PhaseActive && status.Hash == version.String() && t.complete(ctx, status) {
				return status, nil
			}
			failing = failingSince(failing, status.Phase)
			if !failing.IsZero() && time.Since(failing) >= t.cfg.FailingTimeout {
				return last, &NotReadyError{last, time.Since(began)}
			}
		}
		if err := pause(ctx, t.cfg.PollInterval); err != nil {
			return last, err
		}
	}
}

// complete reports whether a status is of as many replicas as are ordered: after
// scaling the provider may still be at the old number.
func (t *Tenant) complete(ctx context.Context, status api.LeaseStatus) bool {
	order, err := t.cfg.Market.Order(ctx, status.Lease.OrderID)
	if err != nil {
		return false
	}
	var wanted uint64
	for _, s := range status.Services {
		wanted += uint64(s.Wanted)
	}
	return len(status.Services) == 0 || wanted == order.Spec.Totals().Replicas
}

// leaseStatus asks the provider of a lease, wherever its gateway is now.
func (t *Tenant) leaseStatus(ctx context.Context, id market.LeaseID) (api.LeaseStatus, error) {
	gw, err := t.gateway(ctx, id.Provider)
	if err != nil {
		return api.LeaseStatus{}, err
	}
	return gw.LeaseStatus(ctx, id)
}

// failingSince follows how long a lease has been failing.
func failingSince(since time.Time, p api.Phase) time.Time {
	switch {
	case p != api.PhaseFailing:
		return time.Time{}
	case since.IsZero():
		return time.Now()
	}
	return since
}

// closed says why a lease is closed, "" when it is not.
func (t *Tenant) closed(ctx context.Context, id market.LeaseID) string {
	lease, err := t.cfg.Market.Lease(ctx, id)
	if err != nil || !lease.State.Terminal() {
		return ""
	}
	return "the lease was closed: " + lease.Reason.String()
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
