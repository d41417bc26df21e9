package markettest_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
	"github.com/moorage-dev/moorage/market/markettest"
	"github.com/moorage-dev/moorage/market/memmarket"
)

// mutant is a host with one fault, and the case that must catch it.
type mutant struct {
	name, caught string
	machine      func(*machine.Machine)
	wrap         func(w *world, c market.Client) market.Client
}

func TestEveryMutantIsCaught(t *testing.T) {
	cases := map[string]markettest.Case{}
	for _, c := range markettest.Cases() {
		require.NotContains(t, cases, c.Name)
		require.NotEmpty(t, c.Clause)
		cases[c.Name] = c
	}
	all := slices.Concat(brokenStores(), brokenStanding(), brokenReads(), brokenWrites())
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			c, ok := cases[m.caught]
			require.True(t, ok, "no case %s", m.caught)
			w := newWorld(t, func(cfg *memmarket.Config) { cfg.Machine = m.machine })
			if m.wrap != nil {
				w.wrap = func(c market.Client) market.Client { return m.wrap(w, c) }
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := c.Run(ctx, w)
			require.Error(t, err, "case %s passes a host that %s", m.caught, m.name)
			t.Log(err)
		})
	}
	assert.GreaterOrEqual(t, len(all), 15)
}

// bent is a table with some methods replaced.
type bent[K machine.Key, V any] struct {
	machine.Table[K, V]
	set  func(t machine.Table[K, V], k K, v V) error
	del  func(t machine.Table[K, V], k K) error
	scan func(t machine.Table[K, V], prefix, after []byte) iter.Seq2[V, error]
}

func (b bent[K, V]) Set(k K, v V) error {
	if b.set != nil {
		return b.set(b.Table, k, v)
	}
	return b.Table.Set(k, v)
}

func (b bent[K, V]) Delete(k K) error {
	if b.del != nil {
		return b.del(b.Table, k)
	}
	return b.Table.Delete(k)
}

func (b bent[K, V]) Scan(prefix, after []byte) iter.Seq2[V, error] {
	if b.scan != nil {
		return b.scan(b.Table, prefix, after)
	}
	return b.Table.Scan(prefix, after)
}

type bentBank struct {
	machine.Bank
	take func(b machine.Bank, a market.Address, c market.Coin) error
	give func(b machine.Bank, a market.Address, c market.Coin) error
}

func (b bentBank) Take(a market.Address, c market.Coin) error {
	if b.take != nil {
		return b.take(b.Bank, a, c)
	}
	return b.Bank.Take(a, c)
}

func (b bentBank) Give(a market.Address, c market.Coin) error {
	if b.give != nil {
		return b.give(b.Bank, a, c)
	}
	return b.Bank.Give(a, c)
}

type payments = machine.Table[market.LeaseID, market.Payment]

func bendPayments(set func(t payments, k market.LeaseID, v market.Payment) error) func(*machine.Machine) {
	return func(m *machine.Machine) {
		m.Payments = bent[market.LeaseID, market.Payment]{Table: m.Payments, set: set}
	}
}

func bendRefs(b bent[machine.Ref, machine.Ref]) func(*machine.Machine) {
	return func(m *machine.Machine) {
		b.Table = m.Refs
		m.Refs = b
	}
}

// withoutRef makes entries of one index not be written.
func withoutRef(kind machine.RefKind) func(*machine.Machine) {
	return bendRefs(bent[machine.Ref, machine.Ref]{
		set: func(t machine.Table[machine.Ref, machine.Ref], k, v machine.Ref) error {
			if k.Kind == kind {
				return nil
			}
			return t.Set(k, v)
		},
	})
}

// brokenStores are hosts whose storage, bank or parameters are wrong.
func brokenStores() []mutant {
	type refs = machine.Table[machine.Ref, machine.Ref]
	type deployments = machine.Table[market.DeploymentID, market.Deployment]
	return []mutant{
		{name: "forgets to delete index entries", caught: "open-orders-are-found", machine: bendRefs(bent[machine.Ref, machine.Ref]{
			del: func(refs, machine.Ref) error { return nil },
		})},
		{name: "does not note which deployments are active", caught: "lists-are-filtered", machine: withoutRef(machine.RefActiveDeployment)},
		{name: "does not note who has signed", caught: "auditors-must-have-signed", machine: withoutRef(machine.RefAuditorAudit)},
		{name: "scans by a prefix that is too short", caught: "ids-that-are-prefixes-share-nothing", machine: bendRefs(bent[machine.Ref, machine.Ref]{
			scan: func(t refs, prefix, after []byte) iter.Seq2[machine.Ref, error] {
				return t.Scan(prefix[:max(0, len(prefix)-8)], after)
			},
		})},
		{name: "repeats the row a page ended with", caught: "lists-are-paged", machine: func(m *machine.Machine) {
			m.Deployments = bent[market.DeploymentID, market.Deployment]{Table: m.Deployments, scan: func(t deployments, prefix, after []byte) iter.Seq2[market.Deployment, error] {
				if len(after) > 0 {
					after = append(slices.Clone(after[:len(after)-1]), after[len(after)-1]-1)
				}
				return t.Scan(prefix, after)
			}}
		}},
		{name: "never does anything by itself", caught: "orders-expire", machine: func(m *machine.Machine) {
			m.Timers = bent[machine.Timer, machine.Timer]{Table: m.Timers, set: func(machine.Table[machine.Timer, machine.Timer], machine.Timer, machine.Timer) error { return nil }}
		}},
		{name: "drops fractions", caught: "a-lease-costs-price-times-blocks", machine: bendPayments(func(t payments, k market.LeaseID, v market.Payment) error {
			v.Fraction = market.Decimal{}
			return t.Set(k, v)
		})},
		{name: "does not note a withdrawal", caught: "withdrawing-twice-in-a-block-pays-once", machine: bendPayments(func(t payments, k market.LeaseID, v market.Payment) error {
			if old, err := t.Get(k); err == nil && v.Balance.Cmp(old.Balance) < 0 {
				v.Balance = old.Balance
			}
			if v.Balance.IsZero() {
				v.Balance = v.Withdrawn
			}
			return t.Set(k, v)
		})},
		{name: "keeps payments open", caught: "a-second-close-in-a-block-stops-charging", machine: func(m *machine.Machine) {
			bendRefs(bent[machine.Ref, machine.Ref]{del: func(t refs, k machine.Ref) error {
				if k.Kind == machine.RefOpenPayment {
					return nil
				}
				return t.Delete(k)
			}})(m)
			bendPayments(func(t payments, k market.LeaseID, v market.Payment) error {
				v.State = market.AccountOpen
				return t.Set(k, v)
			})(m)
		}},
		{name: "forgets what ended leases are owed", caught: "a-debt-outlives-its-lease", machine: bendRefs(bent[machine.Ref, machine.Ref]{
			set: func(t refs, k, v machine.Ref) error {
				if k.Kind == machine.RefOwedPayment {
					return nil
				}
				return t.Set(k, v)
			},
		})},
		{name: "refunds the tenant alone", caught: "refunds-go-to-each-depositor", machine: func(m *machine.Machine) {
			m.Accounts = bent[market.DeploymentID, market.Account]{Table: m.Accounts, set: func(t machine.Table[market.DeploymentID, market.Account], k market.DeploymentID, v market.Account) error {
				v = v.Clone()
				for i := range v.Deposits {
					v.Deposits[i].Depositor = k.Owner
				}
				return t.Set(k, v)
			}}
		}},
		{name: "takes money nobody has", caught: "deployment-is-checked", machine: func(m *machine.Machine) {
			m.Bank = bentBank{Bank: m.Bank, take: func(b machine.Bank, a market.Address, c market.Coin) error {
				if errors.Is(b.Take(a, c), market.ErrInsufficientFunds) {
					return nil
				}
				return nil
			}}
		}},
		{name: "keeps the losers' deposits", caught: "losers-get-their-deposit-at-once", machine: func(m *machine.Machine) {
			m.Bank = bentBank{Bank: m.Bank, give: func(machine.Bank, market.Address, market.Coin) error { return nil }}
		}},
		{name: "takes no fee", caught: "a-lease-costs-price-times-blocks", machine: func(m *machine.Machine) { m.Params.FeePerMyriad = 0 }},
		{name: "gives no grace", caught: "a-deposit-revives", machine: func(m *machine.Machine) { m.Params.GraceBlocks = 0 }},
		{name: "takes one bid too many", caught: "bids-per-order-are-bounded", machine: func(m *machine.Machine) { m.Params.MaxBids++ }},
		{name: "forgets revoked certificates", caught: "certificates-are-revoked", machine: func(m *machine.Machine) {
			m.Certificates = bent[market.CertificateID, market.Certificate]{Table: m.Certificates, set: func(t machine.Table[market.CertificateID, market.Certificate], k market.CertificateID, v market.Certificate) error {
				if v.State == market.CertificateRevoked {
					return t.Delete(k)
				}
				return t.Set(k, v)
			}}
		}},
		{name: "does not delete providers", caught: "providers-register", machine: func(m *machine.Machine) {
			m.Providers = bent[market.Address, market.Provider]{Table: m.Providers, del: func(machine.Table[market.Address, market.Provider], market.Address) error { return nil }}
		}},
		{name: "believes revoked auditors", caught: "auditors-must-have-signed", machine: func(m *machine.Machine) {
			m.Audits = bent[market.AuditID, market.Audit]{Table: m.Audits, del: func(machine.Table[market.AuditID, market.Audit], market.AuditID) error { return nil }}
		}},
	}
}

// client is a client with some methods replaced.
type client struct {
	market.Client
	submit      func(ctx context.Context, msgs ...market.Msg) (market.Receipt, error)
	watch       func(ctx context.Context, from int64) iter.Seq2[market.Block, error]
	order       func(ctx context.Context, id market.OrderID) (market.Order, error)
	params      func(ctx context.Context) (market.Params, error)
	bids        func(ctx context.Context, f market.BidFilter, p market.Page) ([]market.Bid, string, error)
	deployments func(ctx context.Context, f market.DeploymentFilter, p market.Page) ([]market.Deployment, string, error)
	leases      func(ctx context.Context, f market.LeaseFilter, p market.Page) ([]market.Lease, string, error)
}

func (c client) Leases(ctx context.Context, f market.LeaseFilter, p market.Page) ([]market.Lease, string, error) {
	if c.leases != nil {
		return c.leases(ctx, f, p)
	}
	return c.Client.Leases(ctx, f, p)
}

func (c client) Submit(ctx context.Context, msgs ...market.Msg) (market.Receipt, error) {
	if c.submit != nil {
		return c.submit(ctx, msgs...)
	}
	return c.Client.Submit(ctx, msgs...)
}

func (c client) Watch(ctx context.Context, from int64) iter.Seq2[market.Block, error] {
	if c.watch != nil {
		return c.watch(ctx, from)
	}
	return c.Client.Watch(ctx, from)
}

func (c client) Order(ctx context.Context, id market.OrderID) (market.Order, error) {
	if c.order != nil {
		return c.order(ctx, id)
	}
	return c.Client.Order(ctx, id)
}

func (c client) Params(ctx context.Context) (market.Params, error) {
	if c.params != nil {
		return c.params(ctx)
	}
	return c.Client.Params(ctx)
}

func (c client) Bids(ctx context.Context, f market.BidFilter, p market.Page) ([]market.Bid, string, error) {
	if c.bids != nil {
		return c.bids(ctx, f, p)
	}
	return c.Client.Bids(ctx, f, p)
}

func (c client) Deployments(ctx context.Context, f market.DeploymentFilter, p market.Page) ([]market.Deployment, string, error) {
	if c.deployments != nil {
		return c.deployments(ctx, f, p)
	}
	return c.Client.Deployments(ctx, f, p)
}

// bendBlocks changes what a watch yields: f returns the blocks to yield for one.
func bendBlocks(c market.Client, f func(market.Block) []market.Block) client {
	return client{Client: c, watch: func(ctx context.Context, from int64) iter.Seq2[market.Block, error] {
		return func(yield func(market.Block, error) bool) {
			for b, err := range c.Watch(ctx, from) {
				if err != nil {
					yield(b, err)
					return
				}
				for _, b := range f(b) {
					if !yield(b, nil) {
						return
					}
				}
			}
		}
	}}
}

// brokenReads are hosts that read or watch wrongly.
func brokenReads() []mutant {
	return []mutant{
		{name: "watches only blocks with events", caught: "a-watch-misses-nothing", wrap: func(_ *world, c market.Client) market.Client {
			return bendBlocks(c, func(b market.Block) []market.Block {
				if len(b.Events) == 0 {
					return nil
				}
				return []market.Block{b}
			})
		}},
		{name: "yields blocks twice", caught: "a-watch-misses-nothing", wrap: func(_ *world, c market.Client) market.Client {
			return bendBlocks(c, func(b market.Block) []market.Block { return []market.Block{b, b} })
		}},
		{name: "loses events of a batch", caught: "a-watch-misses-nothing", wrap: func(_ *world, c market.Client) market.Client {
			return bendBlocks(c, func(b market.Block) []market.Block {
				b.Events = b.Events[:min(1, len(b.Events))]
				return []market.Block{b}
			})
		}},
		{name: "loses the events of the end of a block", caught: "the-end-of-a-block-has-events-too", wrap: func(_ *world, c market.Client) market.Client {
			return bendBlocks(c, func(b market.Block) []market.Block {
				b.Events = slices.DeleteFunc(b.Events, func(e market.Event) bool { return e.Kind == market.EventAccountOverdrawn })
				return []market.Block{b}
			})
		}},
		{name: "replays the past from zero", caught: "a-watch-from-zero-begins-after-the-head", wrap: func(_ *world, c market.Client) market.Client {
			return client{Client: c, watch: func(ctx context.Context, from int64) iter.Seq2[market.Block, error] {
				return c.Watch(ctx, max(from, 1))
			}}
		}},
		{name: "watches on after the context ended", caught: "a-watch-ends-with-its-context", wrap: func(_ *world, c market.Client) market.Client {
			return client{Client: c, watch: func(ctx context.Context, from int64) iter.Seq2[market.Block, error] {
				return func(yield func(market.Block, error) bool) {
					longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
					defer cancel()
					c.Watch(longer, from)(yield)
				}
			}}
		}},
		{name: "announces what cannot be read yet", caught: "what-is-announced-can-be-read", wrap: func(_ *world, c market.Client) market.Client {
			seen := false
			return client{Client: c, order: func(ctx context.Context, id market.OrderID) (market.Order, error) {
				if !seen {
					seen = true
					return market.Order{}, market.ErrNotFound
				}
				return c.Order(ctx, id)
			}}
		}},
		{name: "hands out its own memory", caught: "arguments-are-not-kept", wrap: func(_ *world, c market.Client) market.Client {
			kept := map[market.OrderID]market.Order{}
			return client{Client: c, order: func(ctx context.Context, id market.OrderID) (market.Order, error) {
				if o, ok := kept[id]; ok {
					return o, nil
				}
				o, err := c.Order(ctx, id)
				kept[id] = o
				return o, err
			}}
		}},
		{name: "ignores the state of a filter", caught: "lists-are-filtered", wrap: func(_ *world, c market.Client) market.Client {
			return client{Client: c, bids: func(ctx context.Context, f market.BidFilter, p market.Page) ([]market.Bid, string, error) {
				f.State = 0
				return c.Bids(ctx, f, p)
			}}
		}},
		{name: "ignores the limit of a page", caught: "lists-are-paged", wrap: func(_ *world, c market.Client) market.Client {
			return client{Client: c, deployments: func(ctx context.Context, f market.DeploymentFilter, p market.Page) ([]market.Deployment, string, error) {
				p.Limit = 0
				return c.Deployments(ctx, f, p)
			}}
		}},
		{name: "says other rules", caught: "the-host-says-its-rules", wrap: func(_ *world, c market.Client) market.Client {
			return client{Client: c, params: func(context.Context) (market.Params, error) { return market.DefaultParams(markettest.Denom), nil }}
		}},
		{name: "gives not-found without its kind", caught: "the-absent-is-not-found", wrap: func(_ *world, c market.Client) market.Client {
			return client{Client: c, order: func(ctx context.Context, id market.OrderID) (market.Order, error) {
				o, err := c.Order(ctx, id)
				if err != nil {
					err = errors.New(err.Error())
				}
				return o, err
			}}
		}},
	}
}

// bendSubmit replaces Submit.
func bendSubmit(f func(ctx context.Context, w *world, c market.Client, msgs ...market.Msg) (market.Receipt, error)) func(*world, market.Client) market.Client {
	return func(w *world, c market.Client) market.Client {
		return client{Client: c, submit: func(ctx context.Context, msgs ...market.Msg) (market.Receipt, error) { return f(ctx, w, c, msgs...) }}
	}
}

// brokenWrites are hosts that submit wrongly.
func brokenWrites() []mutant {
	return []mutant{
		{name: "carries messages out one by one", caught: "messages-go-together", wrap: bendSubmit(func(ctx context.Context, _ *world, c market.Client, msgs ...market.Msg) (receipt market.Receipt, err error) {
			for _, msg := range msgs {
				if receipt, err = c.Submit(ctx, msg); err != nil {
					return receipt, err
				}
			}
			return receipt, nil
		})},
		{name: "does not look who signs", caught: "only-the-signers-messages", wrap: bendSubmit(func(ctx context.Context, w *world, _ market.Client, msgs ...market.Msg) (market.Receipt, error) {
			return w.market.Client(msgs[0].Signer()).Submit(ctx, msgs...)
		})},
		{name: "names the block before", caught: "a-watch-misses-nothing", wrap: bendSubmit(func(ctx context.Context, _ *world, c market.Client, msgs ...market.Msg) (market.Receipt, error) {
			receipt, err := c.Submit(ctx, msgs...)
			receipt.Height--
			return receipt, err
		})},
		{name: "refuses without a rule", caught: "bids-are-checked", wrap: bendSubmit(func(ctx context.Context, _ *world, c market.Client, msgs ...market.Msg) (market.Receipt, error) {
			receipt, err := c.Submit(ctx, msgs...)
			if err != nil {
				err = errors.New(err.Error())
			}
			return receipt, err
		})},
		{name: "submits after the context ended", caught: "an-ended-context-submits-nothing", wrap: bendSubmit(func(ctx context.Context, _ *world, c market.Client, msgs ...market.Msg) (market.Receipt, error) {
			_, err := c.Submit(context.WithoutCancel(ctx), msgs...)
			return market.Receipt{}, errors.Join(err, ctx.Err())
		})},
		{name: "swallows a submission", caught: "update-replaces-the-hash", wrap: bendSubmit(func(ctx context.Context, _ *world, c market.Client, msgs ...market.Msg) (market.Receipt, error) {
			if _, ok := msgs[0].(market.UpdateDeployment); ok {
				return market.Receipt{Height: 1}, nil
			}
			return c.Submit(ctx, msgs...)
		})},
		{name: "cannot submit twice at a time", caught: "submissions-side-by-side", wrap: func(_ *world, c market.Client) market.Client {
			var busy sync.Mutex
			met := make(chan struct{}, 64)
			return client{Client: c, submit: func(ctx context.Context, msgs ...market.Msg) (market.Receipt, error) {
				if !busy.TryLock() {
					met <- struct{}{}
					return market.Receipt{}, market.ErrUnavailable
				}
				defer busy.Unlock()
				select { // until another comes, or it seems to be alone
				case <-met:
				case <-time.After(50 * time.Millisecond):
				}
				return c.Submit(ctx, msgs...)
			}}
		}},
	}
}
