package tenant

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
)

// DefaultScaleTimeout is how long [Tenant.Scale] waits for the provider's answer.
const DefaultScaleTimeout = time.Minute

// ScaleDeclinedError means that a request to scale came to nothing: the provider
// declined it, or did not answer in time and the market dropped it.
type ScaleDeclinedError struct {
	Lease market.LeaseID
	// Reasons are the provider's; none when it gave none.
	Reasons []api.Reason
}

// Error implements error.
func (e *ScaleDeclinedError) Error() string {
	if len(e.Reasons) == 0 {
		return fmt.Sprintf("tenant: scaling of lease %s was declined or not answered", e.Lease)
	}
	parts := make([]string, len(e.Reasons))
	for i, r := range e.Reasons {
		parts[i] = fmt.Sprintf("%s (%s)", r.Detail, r.Rule)
	}
	return fmt.Sprintf("tenant: scaling of lease %s was declined: %s", e.Lease, strings.Join(parts, "; "))
}

// Scale asks the provider of a lease for other numbers of replicas and waits until
// it has confirmed; the lease as it is then is returned, with its new price. The
// error is a [*ScaleDeclinedError] when the provider will not, and matches
// [market.ErrUnavailable] when it has not answered within [DefaultScaleTimeout];
// the request then still stands until the market drops it.
func (t *Tenant) Scale(ctx context.Context, msg market.ScaleLease) (market.Lease, error) {
	if _, err := t.cfg.Market.Submit(ctx, msg); err != nil {
		return market.Lease{}, err
	}
	lease, err := t.cfg.Market.Lease(ctx, msg.ID)
	if err != nil || lease.Scale == nil {
		return lease, err // a request for the present counts takes one back
	}
	number := lease.Scale.Number
	wait, cancel := context.WithTimeout(ctx, DefaultScaleTimeout)
	defer cancel()
	for lease.Scale != nil && lease.Scale.Number == number {
		if err := pause(wait, t.cfg.PollInterval); err != nil {
			if ctx.Err() == nil {
				err = fmt.Errorf("tenant: lease %s: %w: the provider has not answered within %s", msg.ID, market.ErrUnavailable, DefaultScaleTimeout)
			}
			return lease, err
		}
		if lease, err = t.cfg.Market.Lease(ctx, msg.ID); err != nil {
			return lease, err
		}
	}
	return lease, t.scaled(ctx, msg, number)
}

// scaled tells whether the lease has the counts that were asked for.
func (t *Tenant) scaled(ctx context.Context, msg market.ScaleLease, number uint32) error {
	order, err := t.cfg.Market.Order(ctx, msg.ID.OrderID)
	if err != nil {
		return err
	}
	if has(order.Spec.Counts(), msg.Counts) {
		return nil
	}
	return &ScaleDeclinedError{Lease: msg.ID, Reasons: t.answer(ctx, msg.ID, number)}
}

// answerTimeout is how long the provider is asked for the reasons of an answer
// that is on the market already.
const answerTimeout = 5 * time.Second

// answer returns the reasons that a provider gives for its answer to a request,
// none when it gives none in time.
func (t *Tenant) answer(ctx context.Context, id market.LeaseID, number uint32) []api.Reason {
	wait, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for {
		status, err := t.leaseStatus(wait, id)
		if err == nil && status.Scale != nil && status.Scale.Number >= number {
			return status.Scale.Reasons
		}
		if pause(wait, t.cfg.PollInterval) != nil {
			return nil
		}
	}
}

// has reports whether each of the wanted counts is among those there are.
func has(counts, wanted []market.UnitCount) bool {
	for _, w := range wanted {
		found := false
		for _, c := range counts {
			found = found || c == w
		}
		if !found {
			return false
		}
	}
	return true
}
