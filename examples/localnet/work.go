package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/examples/internal/demo"
	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/tenant"
	"github.com/moorage-dev/moorage/provider"
)

// bidTimeout is how long the only provider has to bid.
const bidTimeout = 20 * time.Second

// work is what the tenant does.
func (n *network) work(ctx, alive context.Context) error {
	buyer, before := n.buyer, n.before
	plan, err := n.plan("Hello")
	if err != nil {
		return err
	}
	running, found, err := n.find(ctx, buyer)
	if err != nil {
		return err
	}
	if !found {
		if running, err = buyer.Deploy(ctx, plan); err != nil {
			return n.failed(err)
		}
	}
	if err := n.reach(ctx, running); err != nil {
		return err
	}
	if n.o.once {
		return n.cycle(ctx, buyer, running, before)
	}
	n.con.Info("log", "following the log; Ctrl-C ends%s", n.afterwards())
	err = n.follow(ctx, buyer, running)
	if ctx.Err() != nil && alive.Err() == nil && n.temp {
		return n.closeAtEnd(alive, buyer, running, before)
	}
	return err
}

func (n *network) afterwards() string {
	if n.temp {
		return ", closes and removes everything"
	}
	return "; the containers go on, and the next start with this --home finds them"
}

// plan compiles the document.
func (n *network) plan(greeting string) (tenant.Plan, error) {
	var plan tenant.Plan
	var warnings []string
	var err error
	name := "hello.yaml"
	if n.o.file == "" {
		image := n.o.image
		if image == "" {
			image = n.registry.Image()
		}
		plan, warnings, err = stack.CompilePlan(name, demo.SDL(image, greeting))
	} else {
		name = n.o.file
		plan, warnings, err = stack.CompilePlan(name, n.source)
	}
	if err != nil {
		return plan, err
	}
	for _, w := range warnings {
		n.con.Info("sdl", "warning: %s", w)
	}
	if n.o.deposit != "" {
		if plan.Deposit, err = market.ParseCoin(n.o.deposit); err != nil {
			return plan, err
		}
	}
	n.con.Step("sdl", "%s: %s", name, describe(plan))
	return plan, nil
}

// describe says in a line what a plan asks for.
func describe(p tenant.Plan) string {
	var services []string
	for _, g := range p.Manifest {
		for _, s := range g.Services {
			services = append(services, fmt.Sprintf("%s×%d", s.Name, s.Count))
		}
	}
	return fmt.Sprintf("%s, manifest %s…", strings.Join(services, " "), p.Hash.String()[:12])
}

// find looks for a deployment that an earlier run has left.
func (n *network) find(ctx context.Context, b *stack.Buyer) (tenant.Running, bool, error) {
	list, _, err := n.tenant.Deployments(ctx, market.DeploymentFilter{Owner: n.tenant.Address(), State: market.DeploymentActive}, market.Page{})
	if err != nil {
		return tenant.Running{}, false, err
	}
	for _, d := range slices.Backward(list) {
		leases, err := b.Leases(ctx, d.ID)
		if errors.Is(err, market.ErrNotFound) {
			continue
		}
		if err != nil {
			return tenant.Running{}, false, err
		}
		n.con.Step("tenant", "deployment %d of an earlier run goes on", d.ID.DSeq)
		status, err := b.AwaitReady(ctx, leases, d.Hash)
		if err != nil {
			return tenant.Running{}, false, n.failed(err)
		}
		return tenant.Running{Deployment: d.ID, Leases: leases, Status: status}, true, nil
	}
	return tenant.Running{}, false, nil
}

// failed says that everything was given back.
func (n *network) failed(err error) error {
	var none *tenant.NoBidsError
	var late *tenant.NotReadyError
	if errors.As(err, &none) || errors.As(err, &late) {
		n.con.Fail("tenant", "the deployment is closed again, its deposit is back")
	}
	return err
}

// progress prints the tenant's steps.
func (n *network) progress(s tenant.Step) {
	if s.Height > 0 {
		n.con.SetHeight(s.Height)
	}
	switch s.Kind {
	case tenant.StepCreated:
		n.steps.mark("order is on the chain")
		for _, o := range s.Orders {
			ceiling, err := o.Spec.Ceiling()
			if err == nil {
				n.con.Step("order", "%s pays at most %s", orderName(o.ID), ceiling)
			}
		}
	case tenant.StepBids:
		n.steps.mark("bid is on the chain")
	case tenant.StepLeased:
		n.steps.mark("lease is on the chain")
		for _, b := range s.Bids {
			n.con.Step("lease", "%s with %s at %s", orderName(b.ID.OrderID), short(b.ID.Provider), b.Price)
		}
	case tenant.StepManifest:
		n.steps.mark("manifest is accepted")
		n.con.Step("manifest", "accepted by %s over mTLS", short(s.Leases[0].Provider))
	case tenant.StepStatus:
		for _, svc := range s.Status.Services {
			if svc.Reason != "" {
				n.con.Info("container", "%s is %s: %s", svc.Name, svc.State, svc.Reason)
			}
		}
	case tenant.StepReady:
		n.steps.mark("container runs")
	case tenant.StepClosed:
		n.con.Step("close", "deployment %d is closed", s.Deployment.DSeq)
	}
}

// observe prints the provider's steps that the tenant does not see.
func (n *network) observe(e provider.Event) {
	switch e.Kind {
	case provider.EventBid:
		n.con.Step("bid", "provider bids %s", e.Price)
	case provider.EventDeclined:
		for _, r := range e.Reasons {
			n.con.Fail("bid", "provider declines: %s (%s)", r.Detail, r.Code)
		}
	case provider.EventRecovered:
		n.con.Step("provider", "lease %s is found again", orderName(e.Lease.OrderID))
	case provider.EventWithdrawn:
		n.con.Step("provider", "withdrew what %s has earned", orderName(e.Lease.OrderID))
	case provider.EventLeaseClosed:
		n.con.Step("provider", "lease %s is over (%s), its containers are gone", orderName(e.Lease.OrderID), e.Reason)
	case provider.EventRegistered, provider.EventOrderSeen, provider.EventBidEnded, provider.EventLeaseWon,
		provider.EventManifestAccepted, provider.EventStatus,
		provider.EventRunsDry, provider.EventScaled, provider.EventScaleDeclined:
		// The tenant's own steps tell of these.
	}
}

func orderName(id market.OrderID) string { return fmt.Sprintf("%d/%d/%d", id.DSeq, id.GSeq, id.OSeq) }

// reach prints where everything is, and fetches the first page.
func (n *network) reach(ctx context.Context, r tenant.Running) error {
	fetched := false
	for _, status := range r.Status {
		for _, s := range status.Services {
			n.con.Step("container", "%s runs, %d of %d ready", s.Name, s.Ready, s.Wanted)
			for _, p := range s.Ports {
				n.con.Step("open", "%s port %d/%s is at %s", s.Name, p.Port, strings.ToLower(p.Proto), net.JoinHostPort(p.Host, fmt.Sprint(p.ExternalPort)))
			}
			for _, uri := range s.URIs {
				n.con.Step("open", "%s", uri)
				if fetched {
					continue
				}
				body, err := n.fetch(ctx, uri)
				if err != nil {
					n.con.Fail("page", "%s", err)
					continue
				}
				fetched = true
				n.steps.mark("page answers")
				n.con.Step("page", "%s", headline(body))
			}
		}
	}
	n.con.Title("From the start to the page")
	n.con.Table(n.steps.rows()...)
	return nil
}

// fetchTimeout is how long a page may take to answer the first time; programs
// open their port some time after they start.
const fetchTimeout = 30 * time.Second

// fetch gets a page through the provider's HTTP listener, whatever the name
// resolves to.
func (n *network) fetch(ctx context.Context, uri string) ([]byte, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, n.seller.HTTPAddress())
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	deadline := time.Now().Add(fetchTimeout)
	for {
		body, err := get(ctx, client, u.String())
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return body, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// maxPage bounds what is read of a page.
const maxPage = 1 << 20

func get(ctx context.Context, c *http.Client, uri string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // the body was read, or the error counts
	body, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
	if err == nil && res.StatusCode >= http.StatusBadGateway {
		err = fmt.Errorf("%s answers %s", uri, res.Status)
	}
	return body, err
}

// headline is the first heading of a page, or its beginning.
func headline(body []byte) string {
	if _, rest, ok := bytes.Cut(body, []byte("<h1>")); ok {
		if h, _, ok := bytes.Cut(rest, []byte("</h1>")); ok {
			return string(h)
		}
	}
	text := strings.TrimSpace(string(body))
	if first, _, more := strings.Cut(text, "\n"); more {
		text = first
	}
	return fmt.Sprintf("%d bytes: %.60s", len(body), text)
}

// follow prints the log of all leases until the context ends.
func (n *network) follow(ctx context.Context, b *stack.Buyer, r tenant.Running) error {
	id := r.Leases[0]
	gw, err := b.Gateway(ctx, id)
	if err != nil {
		return err
	}
	for line, err := range gw.Logs(ctx, id, driver.LogOptions{Follow: true, Tail: 20}) {
		if err != nil {
			return err
		}
		n.con.Info("log", "%s/%d  %s", line.Service, line.Replica, line.Text)
	}
	return ctx.Err()
}

// closeTimeout is how long the end of a temporary network may take.
const closeTimeout = time.Minute

// closeAtEnd closes the deployment after Ctrl-C, so that the run ends with its
// balance.
func (n *network) closeAtEnd(alive context.Context, b *stack.Buyer, r tenant.Running, before balances) error {
	ctx, cancel := context.WithTimeout(alive, closeTimeout)
	defer cancel()
	n.con.Info("close", "stopping")
	if err := b.Close(ctx, r.Deployment); err != nil {
		return err
	}
	if err := n.awaitEmpty(ctx); err != nil {
		return err
	}
	return n.sheet(ctx, r, before)
}
