package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
	"github.com/moorage-dev/moorage/provider/bidengine/script"
)

// pricing is the file of --pricing. docs/pricing.md describes it.
type pricing struct {
	// Rates are fixed rates per denomination; without them, and without a program,
	// the usual ones are charged.
	Rates bidengine.Scale `json:"rates,omitempty"`
	// Program is asked for each order instead; Arguments and Environment are its.
	Program     string   `json:"program,omitempty"`
	Arguments   []string `json:"arguments,omitempty"`
	Environment []string `json:"environment,omitempty"`
	// SpreadPercent asks up to so much more, at random.
	SpreadPercent uint32 `json:"spread_percent,omitempty"`
	// Deny and Allow are lists of tenants; Percent is what some pay of the price.
	Deny    []market.Address          `json:"deny,omitempty"`
	Allow   []market.Address          `json:"allow,omitempty"`
	Percent map[market.Address]uint32 `json:"percent,omitempty"`
}

// maxSpread bounds the spread: a typing mistake should not ask a fortune.
const maxSpread = 1000

// openPricing makes the strategy of a file; "" is the usual rates.
func openPricing(path string, denoms []string) (bidengine.Pricer, error) {
	if path == "" {
		return stack.DefaultPricer(denoms...)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var p pricing
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	pricer, err := p.strategy(denoms)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return pricer, nil
}

// strategy puts the parts of the file together.
func (p pricing) strategy(denoms []string) (pricer bidengine.Pricer, err error) {
	switch {
	case p.Program != "" && p.Rates != nil:
		return nil, fmt.Errorf("both rates and a program: choose one")
	case p.Program != "":
		pricer, err = script.New(script.Config{Path: p.Program, Args: p.Arguments, Env: p.Environment})
	case p.Rates != nil:
		pricer = p.Rates
	default:
		pricer, err = stack.DefaultPricer(denoms...)
	}
	if err != nil {
		return nil, err
	}
	if p.SpreadPercent > maxSpread {
		return nil, fmt.Errorf("spread_percent %d: at most %d", p.SpreadPercent, maxSpread)
	}
	if p.SpreadPercent > 0 {
		rng := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
		pricer = bidengine.NewSpread(pricer, p.SpreadPercent, rng)
	}
	return bidengine.Tenants{Pricer: pricer, Deny: set(p.Deny), Allow: set(p.Allow), Percent: p.Percent}, nil
}

// set makes a set of a list; nil stays nil.
func set(list []market.Address) map[market.Address]bool {
	if list == nil {
		return nil
	}
	out := make(map[market.Address]bool, len(list))
	for _, a := range list {
		out[a] = true
	}
	return out
}
