// Package script is a pricing strategy that asks a program.
//
// For each order the program gets a [Question] as JSON on its standard input and
// answers with one decimal number, the price of the whole group per block in the
// denomination asked for, on its standard output. An exit code other than 0
// means that there is no bid; the first line of its standard error says why, for
// operators and tenants. Make the strategy with [New]:
//
//	pricer, err := script.New(script.Config{Path: "/etc/moorage/price"})
//
// A program gets a bounded time, its output is bounded, and only so many run at
// a time. When its time is up it is killed with everything it has started. It
// gets the environment of [Config.Env] and nothing else: no secret of the
// provider's process leaks into it.
package script

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/bidengine"
)

// Refused is the reason when the program says that it has no price.
const Refused bidengine.Code = "price-script-refused"

// Defaults and bounds of [Config].
const (
	DefaultTimeout = 10 * time.Second
	DefaultLimit   = 32
	// maxOutput bounds what is read of each stream of the program, in bytes: a
	// number, and a sentence.
	maxOutput = 4 << 10
	// killDelay is how long streams that somebody still holds may keep a program
	// that was killed.
	killDelay = time.Second
)

// Config says which program to ask and how.
type Config struct {
	// Path is the program's absolute path, Args are its arguments.
	Path string
	Args []string
	// Env is its whole environment, as NAME=value; nil is none.
	Env []string
	// Timeout bounds one answer; 0 means [DefaultTimeout].
	Timeout time.Duration
	// Limit bounds how many programs run at a time, 0 means [DefaultLimit]; orders
	// beyond wait.
	Limit int
}

// Script is a [bidengine.Pricer]. It is safe for concurrent use.
type Script struct {
	cfg  Config
	room chan struct{}
}

var _ bidengine.Pricer = (*Script)(nil)

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Script, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Limit == 0 {
		cfg.Limit = DefaultLimit
	}
	if !filepath.IsAbs(cfg.Path) || cfg.Timeout < 0 || cfg.Limit < 0 {
		return nil, fmt.Errorf("script: config: %w: want an absolute path (%q), a timeout and a limit above 0", market.ErrInvalid, cfg.Path)
	}
	return &Script{cfg, make(chan struct{}, cfg.Limit)}, nil
}

// Question is what the program is asked. The form is stable; fields may be
// added.
type Question struct {
	// Tenant is the account that pays, Order the text of the order's ID.
	Tenant string `json:"tenant"`
	Order  string `json:"order"`
	// Denom is the denomination to answer in; Ceiling the most the tenant pays for
	// the group per block.
	Denom   string         `json:"denom"`
	Ceiling market.Decimal `json:"ceiling"`
	// Group is what is asked for, in the form of the market.
	Group market.GroupSpec `json:"group"`
	// Cards are the graphics cards that the group would get, one entry per card.
	Cards []Card `json:"cards"`
	// LeasedIPs is the number of public addresses, Endpoints that of other ways in.
	LeasedIPs int `json:"leased_ips"`
	Endpoints int `json:"endpoints"`
}

// Card is a graphics card of a [Question].
type Card struct {
	Vendor      string `json:"vendor"`
	Model       string `json:"model"`
	MemoryBytes uint64 `json:"memory_bytes"`
	Interface   string `json:"interface,omitempty"`
}

// Price implements [bidengine.Pricer].
func (s *Script) Price(ctx context.Context, r bidengine.Request) (market.Decimal, error) {
	question, err := json.Marshal(ask(r))
	if err != nil {
		return market.Decimal{}, fmt.Errorf("script: %w", err)
	}
	select {
	case s.room <- struct{}{}:
		defer func() { <-s.room }()
	case <-ctx.Done():
		return market.Decimal{}, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	out, said, err := s.run(ctx, question)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return market.Decimal{}, fmt.Errorf("script: %s gave no answer: %w", s.cfg.Path, ctx.Err())
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		why, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
		return market.Decimal{}, &bidengine.RefusalError{Reason: bidengine.Reason{
			Code: Refused, Detail: fmt.Sprintf("exit code %d: %.300s", exit.ExitCode(), why),
		}}
	case err != nil:
		return market.Decimal{}, fmt.Errorf("script: %s: %w", s.cfg.Path, err)
	}
	price, err := market.ParseDecimal(strings.TrimSpace(out))
	if err != nil {
		return market.Decimal{}, fmt.Errorf("script: %s answered %.60q: %w", s.cfg.Path, out, err)
	}
	return price, nil
}

// run runs the program once.
func (s *Script) run(ctx context.Context, question []byte) (out, said string, err error) {
	var stdout, stderr bounded
	cmd := exec.CommandContext(ctx, s.cfg.Path, s.cfg.Args...) //nolint:gosec // the operator's own program
	cmd.Env = append([]string{}, s.cfg.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(question), &stdout, &stderr
	cmd.WaitDelay = killDelay
	inGroup(cmd)
	err = cmd.Run()
	if stdout.over && err == nil {
		err = fmt.Errorf("the answer is longer than %d bytes", maxOutput)
	}
	return stdout.String(), stderr.String(), err
}

// bounded keeps the beginning of what is written.
type bounded struct {
	bytes.Buffer
	over bool
}

// Write implements [io.Writer].
func (b *bounded) Write(p []byte) (int, error) {
	keep := min(len(p), maxOutput-b.Len())
	b.over = b.over || keep < len(p)
	b.Buffer.Write(p[:keep])
	return len(p), nil
}

// ask makes the question.
func ask(r bidengine.Request) Question {
	q := Question{
		Tenant: string(r.Order.ID.Owner), Order: r.Order.ID.String(), Denom: r.Denom, Ceiling: r.Ceiling,
		Group: r.Order.Spec, Cards: []Card{},
	}
	for _, a := range r.Placement.Assignments {
		for _, g := range a.Resources.GPUs {
			q.Cards = append(q.Cards, Card{g.Vendor, g.Model, g.MemoryBytes, g.Interface})
		}
	}
	ips := map[uint32]bool{}
	for _, u := range r.Order.Spec.Units {
		for _, e := range u.Endpoints {
			if e.Kind == market.EndpointLeasedIP {
				ips[e.SequenceNumber] = true
			}
		}
		q.Endpoints += bidengine.Entrances(u)
	}
	q.LeasedIPs = len(ips)
	return q
}
