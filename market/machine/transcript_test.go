package machine_test

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/memmarket"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// Transcripts are text files of commands, each a line that begins with "$ ",
// and what they print. A command is a message, or one of: fund, block, show,
// owns. Run with -update to rewrite what they print.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			got := replay(t, string(want))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			require.Equal(t, string(want), got)
		})
	}
}

// replay runs the commands of a transcript and returns it with what they print
// now.
func replay(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	s := &session{params: market.DefaultParams("uakt", "uact"), t: t}
	skip := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "$ "):
			fmt.Fprintln(&out, line)
			out.WriteString(s.run(strings.Fields(line[2:])))
			skip = true
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
			skip = false
		case !skip:
			t.Fatalf("neither command, comment nor output: %q", line)
		}
	}
	if s.market != nil {
		require.NoError(t, s.market.Check())
	}
	return out.String()
}

// session is a market that a transcript talks to. It begins with the first
// command that is not "params".
type session struct {
	t      *testing.T
	params market.Params
	market *memmarket.Market
	out    bytes.Buffer
}

func (s *session) run(args []string) string {
	s.out.Reset()
	if args[0] == "params" {
		s.setParams(args[1:])
		return ""
	}
	if s.market == nil {
		var err error
		s.market, err = memmarket.New(memmarket.Config{Params: s.params, BlockPerSubmit: true, Start: time.Unix(1_700_000_000, 0)})
		require.NoError(s.t, err)
	}
	switch cmd := args[0]; cmd {
	case "fund":
		for _, c := range args[2:] {
			require.NoError(s.t, s.market.Fund(market.Address(args[1]), s.coin(c)))
		}
	case "block":
		n := 1
		if len(args) > 1 {
			n = int(s.number(args[1]))
		}
		s.blocks(func() { require.NoError(s.t, s.market.Advance(n)) })
	case "show":
		s.show(args[1])
	case "show-registry":
		s.showRegistry()
	case "show-retainer":
		s.showRetainer(args[1])
	case "owns":
		s.owns(args[1:])
	default:
		s.submit(s.msg(cmd, args[1:]))
	}
	return s.out.String()
}

func (s *session) setParams(args []string) {
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		n := s.number(value)
		switch name {
		case "grace":
			s.params.GraceBlocks = n
		case "lifetime":
			s.params.OrderLifetimeBlocks = n
		case "fee":
			s.params.FeePerMyriad = uint32(n)
		case "scale":
			s.params.ScaleBlocks = n
		case "reclaim":
			s.params.MaxReclaimBlocks = n
		case "bids":
			s.params.MaxBids = uint32(n)
		default:
			s.t.Fatalf("no parameter %q", name)
		}
	}
}

// blocks prints the events of the blocks that f makes.
func (s *session) blocks(f func()) {
	c := s.market.Client("observer")
	before, err := c.Head(s.t.Context())
	require.NoError(s.t, err)
	f()
	after, err := c.Head(s.t.Context())
	require.NoError(s.t, err)
	for b, err := range c.Watch(s.t.Context(), before.Height+1) {
		require.NoError(s.t, err)
		for _, e := range b.Events {
			what := strings.TrimRight(strings.ReplaceAll(e.ID.String(), "/0", ""), "/")
			if e.Retainer != (market.RetainerID{}) {
				what = e.Retainer.String()
			}
			fmt.Fprintf(&s.out, "%4d %s %s\n", b.Height, e.Kind, what)
		}
		if b.Height == after.Height {
			return
		}
	}
}

func (s *session) submit(msg market.Msg) {
	s.blocks(func() {
		_, err := s.market.Client(msg.Signer()).Submit(s.t.Context(), msg)
		var re *market.RuleError
		switch {
		case errors.As(err, &re):
			fmt.Fprintf(&s.out, "     refused: %s: %s\n", re.Rule, re.Detail)
		case err != nil:
			s.t.Fatal(err)
		}
	})
}

func (s *session) msg(cmd string, args []string) market.Msg {
	switch cmd {
	case "create-provider":
		return market.CreateProvider{Provider: market.Provider{Owner: market.Address(args[0]), HostURI: "https://" + args[0] + ".example", Attributes: attributes(args[1:])}}
	case "sign-audit":
		return market.SignAudit{Audit: market.Audit{ID: market.AuditID{Provider: market.Address(args[0]), Auditor: market.Address(args[1])}, Attributes: attributes(args[2:])}}
	case "update-provider":
		return market.UpdateProvider{Provider: market.Provider{Owner: market.Address(args[0]), HostURI: args[1]}}
	case "revoke-audit":
		return market.RevokeAudit{ID: market.AuditID{Provider: market.Address(args[0]), Auditor: market.Address(args[1])}}
	case "create-certificate":
		return s.createCertificate(args)
	case "revoke-certificate":
		return market.RevokeCertificate{ID: market.CertificateID{Owner: market.Address(args[0]), Serial: args[1]}}
	case "delete-provider":
		return market.DeleteProvider{Owner: market.Address(args[0])}
	case "create-deployment":
		return s.createDeployment(args)
	case "update-deployment":
		return market.UpdateDeployment{ID: s.deployment(args[0]), Hash: market.Hash{byte(s.number(args[1]))}}
	case "deposit":
		return market.DepositDeployment{ID: s.deployment(args[0]), Depositor: market.Address(args[1]), Amount: s.coin(args[2])}
	case "close-deployment":
		return market.CloseDeployment{ID: s.deployment(args[0])}
	case "close-group":
		return market.CloseGroup{ID: s.group(args[0])}
	case "pause-group":
		return market.PauseGroup{ID: s.group(args[0])}
	case "start-group":
		return market.StartGroup{ID: s.group(args[0])}
	case "create-bid":
		msg := market.CreateBid{ID: s.bid(args[0]), Price: s.price(args[1]), Deposit: market.NewCoin("uakt", 500_000)}
		for i, p := range args[2:] { // units are numbered from 1
			msg.Units = append(msg.Units, market.UnitPrice{Unit: uint32(i + 1), AmountPerBlock: s.price(p).AmountPerBlock})
		}
		return msg
	case "close-bid":
		return market.CloseBid{ID: s.bid(args[0]), Reason: market.CloseReason(s.number(args[1]))}
	case "create-lease":
		return market.CreateLease{ID: s.bid(args[0])}
	case "close-lease":
		return market.CloseLease{ID: s.bid(args[0]).Lease()}
	case "withdraw-lease":
		return market.WithdrawLease{ID: s.bid(args[0]).Lease()}
	}
	return s.standingMsg(cmd, args)
}

// standingMsg reads the messages about running leases and retainers.
func (s *session) standingMsg(cmd string, args []string) market.Msg {
	switch cmd {
	case "scale-lease":
		return s.scaleLease(args)
	case "confirm-scale":
		return market.ConfirmScale{ID: s.bid(args[0]).Lease(), Number: uint32(s.number(args[1]))}
	case "decline-scale":
		return market.DeclineScale{ID: s.bid(args[0]).Lease(), Number: uint32(s.number(args[1]))}
	case "open-retainer":
		msg := market.OpenRetainer{ID: s.retainer(args[0]), Price: s.price(args[1]), Deposit: s.coin(args[2])}
		if len(args) > 3 {
			msg.ExpiresAt = s.number(args[3])
		}
		return msg
	case "deposit-retainer":
		return market.DepositRetainer{ID: s.retainer(args[0]), Amount: s.coin(args[1])}
	case "withdraw-retainer":
		return market.WithdrawRetainer{ID: s.retainer(args[0])}
	case "close-retainer":
		return market.CloseRetainer{ID: s.retainer(args[0]), By: market.Address(args[1])}
	}
	s.t.Fatalf("no command %q", cmd)
	return nil
}

// createCertificate reads "owner name serial hours": a certificate of a name that
// is valid for so many hours from the beginning of the market on.
func (s *session) createCertificate(args []string) market.Msg {
	c := certTemplate()
	c.Subject.CommonName = args[1]
	c.SerialNumber = big.NewInt(s.number(args[2]))
	c.NotBefore = time.Unix(1_700_000_000, 0).Add(-time.Hour)
	c.NotAfter = time.Unix(1_700_000_000, 0).Add(time.Duration(s.number(args[3])) * time.Hour)
	k := ecKey(s.t, elliptic.P256())
	return market.CreateCertificate{Owner: market.Address(args[0]), DER: signCert(s.t, c, k, k)}
}

// scaleLease reads "bid unit=count… [max=price] [hash=n]".
func (s *session) scaleLease(args []string) market.Msg {
	msg := market.ScaleLease{ID: s.bid(args[0]).Lease()}
	for _, a := range args[1:] {
		switch name, value, _ := strings.Cut(a, "="); name {
		case "max":
			msg.MaxPrice = s.price(value)
		case "hash":
			msg.Hash = market.Hash{byte(s.number(value))}
		default:
			msg.Counts = append(msg.Counts, market.UnitCount{Unit: uint32(s.number(name)), Count: uint32(s.number(value))})
		}
	}
	return msg
}

// createDeployment reads "owner/dseq deposit group…". A group is units joined
// with "+", then what it asks for; a unit is a price, and perhaps "*count" and
// "[min-max]": "10uakt*2[1-5]+3uakt,reclaim=20,allow=bob,exclude=carol,dc=muc1".
func (s *session) createDeployment(args []string) market.Msg {
	msg := market.CreateDeployment{ID: s.deployment(args[0]), Hash: market.Hash{1}, Deposit: s.coin(args[1])}
	for i, text := range args[2:] {
		units, wishes, _ := strings.Cut(text, ",")
		g := market.GroupSpec{Name: fmt.Sprintf("group%d", i+1)}
		for j, u := range strings.Split(units, "+") {
			g.Units = append(g.Units, s.unit(uint32(j+1), u))
		}
		for _, w := range strings.FieldsFunc(wishes, func(r rune) bool { return r == ',' }) {
			s.wish(&g, w)
		}
		msg.Groups = append(msg.Groups, g)
	}
	return msg
}

func (s *session) unit(id uint32, text string) market.ResourceUnit {
	u := market.ResourceUnit{
		Resources: market.Resources{ID: id, CPU: market.CPU{MilliCores: 100}, Memory: market.Memory{Bytes: 1 << 20}}, Count: 1,
	}
	text, bounds, scalable := strings.Cut(text, "[")
	if scalable {
		low, high, _ := strings.Cut(strings.TrimSuffix(bounds, "]"), "-")
		u.MinCount, u.MaxCount = uint32(s.number(low)), uint32(s.number(high))
	}
	text, count, many := strings.Cut(text, "*")
	if many {
		u.Count = uint32(s.number(count))
	}
	u.Price = s.price(text)
	return u
}

func (s *session) wish(g *market.GroupSpec, text string) {
	r := &g.Requirements
	switch name, value, _ := strings.Cut(text, "="); name {
	case "reclaim":
		g.ReclaimBlocks = s.number(value)
	case "allow":
		r.Providers.Allowed = append(r.Providers.Allowed, market.Address(value))
	case "exclude":
		r.Providers.Excluded = append(r.Providers.Excluded, market.Address(value))
	case "dc":
		r.DataCenters.Allowed = append(r.DataCenters.Allowed, value)
	case "no-dc":
		r.DataCenters.Excluded = append(r.DataCenters.Excluded, value)
	case "signed":
		r.SignedBy.AllOf = append(r.SignedBy.AllOf, market.Address(value))
	default:
		s.t.Fatalf("no wish %q", name)
	}
}

// attributes reads "key=value…".
func attributes(args []string) (out market.Attributes) {
	for _, a := range args {
		k, v, _ := strings.Cut(a, "=")
		out = append(out, market.Attribute{Key: k, Value: v})
	}
	return out
}

func (s *session) retainer(text string) market.RetainerID {
	id, err := market.ParseRetainerID(text)
	require.NoError(s.t, err)
	return id
}

// showRegistry prints providers, audits and certificates.
func (s *session) showRegistry() {
	g, err := s.market.Export()
	require.NoError(s.t, err)
	for _, p := range g.Providers {
		fmt.Fprintf(&s.out, "     provider    %s %s %v since %d\n", p.Owner, p.HostURI, p.Attributes, p.CreatedAt)
	}
	for _, a := range g.Audits {
		fmt.Fprintf(&s.out, "     audit       %s %v\n", a.ID, a.Attributes)
	}
	for _, c := range g.Certificates {
		fmt.Fprintf(&s.out, "     certificate %s %s\n", c.ID, c.State)
	}
}

func (s *session) showRetainer(text string) {
	r, err := s.market.Client("observer").Retainer(s.t.Context(), s.retainer(text))
	require.NoError(s.t, err)
	fmt.Fprintf(&s.out, "     retainer   %s %s %s funds %s balance %s fraction %s withdrawn %s unpaid %s\n",
		r.ID, r.State, r.Price, r.Funds, r.Balance, r.Fraction, r.Withdrawn, r.Unpaid)
	fmt.Fprintf(&s.out, "                blocks %d-%d settled %d expires %d due %d reason %s\n",
		r.CreatedAt, r.ClosedAt, r.SettledAt, r.ExpiresAt, r.DueAt, r.Reason)
}

func (s *session) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(s.t, err)
	return n
}

func (s *session) coin(text string) market.Coin {
	c, err := market.ParseCoin(text)
	require.NoError(s.t, err)
	return c
}

// price reads for example "1.5uakt".
func (s *session) price(text string) market.Price {
	i := strings.IndexFunc(text, func(r rune) bool { return r >= 'a' })
	d, err := market.ParseDecimal(text[:i])
	require.NoError(s.t, err)
	return market.Price{Denom: text[i:], AmountPerBlock: d}
}

func (s *session) deployment(text string) market.DeploymentID {
	id, err := market.ParseDeploymentID(text)
	require.NoError(s.t, err)
	return id
}

func (s *session) group(text string) market.GroupID {
	id, err := market.ParseGroupID(text)
	require.NoError(s.t, err)
	return id
}

func (s *session) bid(text string) market.BidID {
	id, err := market.ParseBidID(text)
	require.NoError(s.t, err)
	return id
}

func (s *session) owns(accounts []string) {
	for _, a := range accounts {
		coins, err := s.market.Client("observer").Balances(s.t.Context(), market.Address(a))
		require.NoError(s.t, err)
		fmt.Fprintf(&s.out, "     %s %v\n", a, coins)
	}
	fmt.Fprintf(&s.out, "     pot %v fees %v\n", s.market.Pot(), s.market.Fees())
}

// show prints all that belongs to a deployment.
func (s *session) show(text string) {
	id := s.deployment(text)
	g, err := s.market.Export()
	require.NoError(s.t, err)
	for _, d := range g.Deployments {
		if d.ID == id {
			fmt.Fprintf(&s.out, "     deployment %s %s hash %x\n", d.ID, d.State, d.Hash[:1])
		}
	}
	for _, v := range g.Groups {
		if v.ID.DeploymentID == id {
			fmt.Fprintf(&s.out, "     group      %s %s\n", v.ID, v.State)
		}
	}
	for _, o := range g.Orders {
		if o.ID.DeploymentID == id {
			fmt.Fprintf(&s.out, "     order      %s %s bids %d expires %d\n", o.ID, o.State, o.Bids, o.ExpiresAt)
		}
	}
	for _, b := range g.Bids {
		if b.ID.DeploymentID == id {
			fmt.Fprintf(&s.out, "     bid        %s %s %s\n", b.ID, b.State, b.Price)
		}
	}
	for _, l := range g.Leases {
		if l.ID.DeploymentID == id {
			fmt.Fprintf(&s.out, "     lease      %s %s blocks %d-%d reason %s\n", l.ID, l.State, l.CreatedAt, l.ClosedAt, l.Reason)
			s.showStanding(l)
		}
	}
	for _, p := range g.Payments {
		if p.ID.DeploymentID == id {
			fmt.Fprintf(&s.out, "     payment    %s %s balance %s fraction %s withdrawn %s unpaid %s since %d\n",
				p.ID, p.State, p.Balance, p.Fraction, p.Withdrawn, p.Unpaid, p.OverdrawnAt)
		}
	}
	for _, a := range g.Accounts {
		if a.ID == id {
			s.showAccount(a)
		}
	}
}

// showStanding prints what a lease was scaled to or waits for.
func (s *session) showStanding(l market.Lease) {
	if l.Scales > 0 {
		o, err := s.market.Client("observer").Order(s.t.Context(), l.ID.OrderID)
		require.NoError(s.t, err)
		fmt.Fprintf(&s.out, "                counts %v price %s\n", o.Spec.Counts(), l.Price)
	}
	if l.Scale != nil {
		fmt.Fprintf(&s.out, "                waits with request %d: counts %v price %s until %d\n", l.Scale.Number, l.Scale.Counts, l.Scale.Price, l.Scale.ExpiresAt)
	}
	if l.EndsAt != 0 {
		fmt.Fprintf(&s.out, "                ends at %d\n", l.EndsAt)
	}
}

func (s *session) showAccount(a market.Account) {
	fmt.Fprintf(&s.out, "     account    %s %s transferred %v settled %d overdrawn %d due %d\n", a.ID, a.State, a.Transferred, a.SettledAt, a.OverdrawnAt, a.DueAt)
	for _, d := range a.Deposits {
		fmt.Fprintf(&s.out, "     deposit    of %s: %s\n", d.Depositor, d.Balance)
	}
}
