package provider

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/moorage-dev/moorage/cluster/inventory"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// A tenant may ask for other numbers of replicas under an active lease. The room
// for the larger of present and wanted numbers is reserved, on disk, before the
// provider confirms, and the cluster runs the new numbers once the market says
// that they hold. Until the request is answered no room that it may need is
// given away, so that a confirmation whose fate is not known cannot promise too
// much.

// Reasons to decline a request to scale, besides those of the bid engine.
const (
	// ScaleManifest: the manifest does not add up with the new numbers; a request
	// with a new manifest's hash would do.
	ScaleManifest bidengine.Code = "scale-manifest"
	// ScaleCards: the further replicas would get other cards than those that the
	// price per replica was made for.
	ScaleCards bidengine.Code = "scale-other-cards"
)

// ScaleAnswer is the last answer to a request to scale.
type ScaleAnswer struct {
	// Number is that of the request.
	Number uint32 `json:"number"`
	// Reasons say why it was declined; none if it was confirmed.
	Reasons []bidengine.Reason `json:"reasons,omitempty"`
}

// reserveLease promises what a lease runs and, while a request to scale waits,
// what it may run. The second result says why the request has no room.
func (p *Provider) reserveLease(lease market.Lease, order market.Order) (held inventory.Placement, refused, noScale []inventory.Reason) {
	if lease.Scale != nil {
		wider := order
		wider.Spec = widest(order.Spec, lease.Scale.Counts)
		if held, noScale = p.reserve(wider); len(noScale) == 0 {
			return held, nil, nil
		}
	}
	held, refused = p.reserve(order)
	return held, refused, noScale
}

// widest is the group with the larger of present and wanted numbers.
func widest(spec market.GroupSpec, wanted []market.UnitCount) market.GroupSpec {
	spec.Units = slices.Clone(spec.Units)
	for i, u := range spec.Units {
		for _, c := range wanted {
			if c.Unit == u.ID {
				spec.Units[i].Count = max(u.Count, c.Count)
			}
		}
	}
	return spec
}

// answerScale confirms or declines what a tenant asks for.
func (p *Provider) answerScale(ctx context.Context, lease market.Lease, order market.Order, r Record, noRoom []inventory.Reason) error {
	if lease.Scale == nil || lease.State != market.LeaseActive {
		return nil
	}
	reasons := p.judgeScale(*lease.Scale, order, r, noRoom)
	var msg market.Msg = market.ConfirmScale{ID: lease.ID, Number: lease.Scale.Number}
	if len(reasons) > 0 {
		msg = market.DeclineScale{ID: lease.ID, Number: lease.Scale.Number}
	}
	_, err := p.cfg.Market.Submit(ctx, msg)
	if len(reasons) == 0 && unaffordable(err) {
		reasons = []bidengine.Reason{{Code: ruleOf(err), Detail: err.Error()}}
		_, err = p.cfg.Market.Submit(ctx, market.DeclineScale{ID: lease.ID, Number: lease.Scale.Number})
	}
	if err != nil {
		return fmt.Errorf("provider: answer scale %d of %s: %w", lease.Scale.Number, lease.ID, err)
	}
	answer := ScaleAnswer{Number: lease.Scale.Number, Reasons: reasons}
	if _, err := p.changeRecord(lease.ID, false, func(r *Record) { r.Scaled = &answer }); err != nil {
		return err
	}
	kind := EventScaled
	if len(reasons) > 0 {
		kind = EventScaleDeclined
	}
	p.cfg.Logger.Info("a request to scale is answered", "lease", lease.ID, "number", answer.Number, "reasons", reasons)
	p.observe(Event{Kind: kind, Lease: lease.ID, Price: lease.Scale.Price, Reasons: reasons})
	p.queue.addAfter(leaseTask(lease.ID), retryPause) // the market's news are quicker
	return nil
}

// unaffordable reports whether the market refuses a confirmation because of the
// tenant's funds: the request would then wait in vain.
func unaffordable(err error) bool {
	code := ruleOf(err)
	return code == "lease-not-funded" || code == "account-overdrawn"
}

func ruleOf(err error) bidengine.Code {
	var rule *market.RuleError
	if errors.As(err, &rule) {
		return bidengine.Code(rule.Rule)
	}
	return ""
}

// judgeScale says what stands against a request.
func (p *Provider) judgeScale(ask market.Scale, order market.Order, r Record, noRoom []inventory.Reason) []bidengine.Reason {
	if len(noRoom) > 0 {
		return bidengine.FromInventory(noRoom)
	}
	spec, err := order.Spec.WithCounts(ask.Counts)
	if err != nil {
		return []bidengine.Reason{{Code: bidengine.OrderInvalid, Detail: err.Error()}}
	}
	p.mu.Lock()
	draining := p.draining
	p.mu.Unlock()
	more := !reflect.DeepEqual(widest(order.Spec, ask.Counts).Units, order.Spec.Units)
	if more && draining.on {
		return []bidengine.Reason{{Code: bidengine.Draining, Detail: "the provider takes no further replicas at present: " + draining.notice}}
	}
	if more && !oneKindPerUnit(r.Placement) {
		return []bidengine.Reason{{Code: ScaleCards, Detail: "there is no room with the cards that the price was made for"}}
	}
	if ask.Hash != (market.Hash{}) || r.Revision == 0 {
		return nil
	}
	group, _ := r.Group()
	specs := []market.GroupSpec{spec}
	if err := manifest.Check(manifest.Manifest{group}.WithCounts(specs), specs); err != nil {
		return []bidengine.Reason{{Code: ScaleManifest, Detail: err.Error()}}
	}
	return nil
}

// oneKindPerUnit reports whether all replicas of a unit have the same cards.
func oneKindPerUnit(p inventory.Placement) bool {
	type kind struct {
		vendor, model, iface string
		memory               uint64
	}
	seen := map[uint32]kind{}
	for _, a := range p.Assignments {
		if len(a.Resources.GPUs) == 0 {
			continue
		}
		g := a.Resources.GPUs[0]
		k := kind{g.Vendor, g.Model, g.Interface, g.MemoryBytes}
		if before, ok := seen[a.Unit]; ok && before != k {
			return false
		}
		seen[a.Unit] = k
	}
	return true
}

// takeCounts enters the numbers of replicas that hold now. What the cluster runs
// gets another revision if they change it.
func (r *Record) takeCounts(spec market.GroupSpec) {
	if reflect.DeepEqual(r.Units, spec.Units) {
		return
	}
	before, _ := r.Group()
	r.Units = spec.Clone().Units
	after, _ := r.Group()
	if r.Revision > 0 && !reflect.DeepEqual(before, after) {
		r.Revision++
	}
}

// scaleDocument tells the tenant of a request and its answer.
func scaleDocument(a *ScaleAnswer) *api.ScaleAnswer {
	if a == nil {
		return nil
	}
	out := &api.ScaleAnswer{Number: a.Number, Confirmed: len(a.Reasons) == 0}
	for _, r := range a.Reasons {
		out.Reasons = append(out.Reasons, api.Reason{Rule: string(r.Code), Detail: r.Detail})
	}
	return out
}
