// Package markettest is the conformance suite of a host of the market: what a
// [market.Client] promises and the rules of the market, seen from outside, with
// money counted to the last unit.
//
// The author of a host writes a [World] and calls [Run]:
//
//	func TestConformance(t *testing.T) {
//		markettest.Run(t, markettest.Harness{New: func(t *testing.T) markettest.World { … }})
//	}
//
// Each [Case] states the clause it checks and returns an error, so that the
// suite itself can be tested with hosts that are broken on purpose. Cases use
// accounts of their own and may share a world.
package markettest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/moorage-dev/moorage/market"
)

// World is a running market. The rules must be [Params].
type World interface {
	// Client returns a client for an account that has never been used and owns
	// exactly [Funds]. It is called by one goroutine at a time.
	Client(ctx context.Context) (market.Client, error)
	// Advance makes at least n blocks, and few more. Apart from that the world
	// makes the blocks that submissions need: Submit returns without Advance.
	// Blocks that make themselves should be few while nothing is submitted, so
	// that the cases can look at a height.
	Advance(ctx context.Context, n int) error
}

// Harness tells [Run] how to make worlds.
type Harness struct {
	// New returns a world. It registers its end with t.Cleanup.
	New func(t *testing.T) World
	// Shared has all cases use one world, for hosts that are slow to start.
	Shared bool
	// Context returns the context of a case; nil means t.Context() with
	// [DefaultTimeout].
	Context func(t *testing.T) (context.Context, context.CancelFunc)
}

// DefaultTimeout bounds a case.
const DefaultTimeout = 2 * time.Minute

// Denominations the worlds settle in.
const (
	Denom      = "uakt"
	OtherDenom = "uact"
)

// Units is how much of each denomination an account owns at the beginning.
const Units = 100_000_000

// Funds returns what an account owns at the beginning.
func Funds() market.Coins {
	return market.Coins{market.NewCoin(OtherDenom, Units), market.NewCoin(Denom, Units)}
}

// Params returns the rules a world must have: few bids, short grace, orders and
// requests that expire, and a fee of 2.5 %.
func Params() market.Params {
	p := market.DefaultParams(Denom, OtherDenom)
	p.MaxBids = 3
	p.OrderLifetimeBlocks = 80
	p.GraceBlocks = 20
	p.FeePerMyriad = 250
	p.ScaleBlocks = 30
	p.MaxReclaimBlocks = 60
	return p
}

// Case checks one clause of the contract.
type Case struct {
	// Name is the clause in a few words with hyphens.
	Name string
	// Clause is what a host promises.
	Clause string
	body   func(r *run)
}

// Run checks the clause in a world. The error says what was wrong.
func (c Case) Run(ctx context.Context, w World) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case caseError:
			err = fmt.Errorf("%s: %w", c.Name, v.error)
		default:
			panic(v)
		}
	}()
	c.body(&run{ctx: ctx, world: w})
	return nil
}

// Cases returns all cases.
func Cases() []Case {
	var all []Case
	for _, part := range [][]Case{
		deploymentCases(), bidCases(), moneyCases(), overdraftCases(), scaleCases(), retainerCases(), registryCases(), listCases(), watchCases(), submitCases(),
	} {
		all = append(all, part...)
	}
	return all
}

// Run runs every case as a subtest.
func Run(t *testing.T, h Harness) {
	t.Helper()
	var shared World
	if h.Shared {
		shared = h.New(t)
	}
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			w := shared
			if w == nil {
				w = h.New(t)
			}
			ctx, cancel := h.context(t)
			defer cancel()
			if err := c.Run(ctx, w); err != nil {
				t.Errorf("%v\nclause: %s", err, c.Clause)
			}
		})
	}
}

func (h Harness) context(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	if h.Context != nil {
		return h.Context(t)
	}
	return context.WithTimeout(t.Context(), DefaultTimeout)
}
