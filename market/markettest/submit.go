package markettest

import (
	"context"
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

func submitCases() []Case {
	return []Case{
		{"messages-go-together", "messages of one submission are carried out all or none, in order, each seeing what those before it did", messagesGoTogether},
		{"only-the-signers-messages", "a message of another account is refused", onlySigners},
		{"arguments-are-not-kept", "what was handed in may be changed afterwards, and what was handed out too", argumentsNotKept},
		{"submissions-side-by-side", "one client may submit from many goroutines", submissionsSideBySide},
		{"an-ended-context-submits-nothing", "Submit with a context that has ended carries nothing out", endedContext},
		{"the-host-says-its-rules", "Params returns the rules in force, Head grows", hostSaysRules},
	}
}

func messagesGoTogether(r *run) {
	a := r.actor()
	id := market.DeploymentID{Owner: a.Address(), DSeq: 1}
	create := market.CreateDeployment{ID: id, Groups: []market.GroupSpec{r.spec("web", "10")}, Hash: market.Hash{1}, Deposit: market.NewCoin(Denom, deposit)}
	a.refused(market.ErrInvalid, "deployment-hash", create, market.UpdateDeployment{ID: id, Hash: create.Hash})
	_, err := a.Deployment(r.ctx, id)
	r.wantNotFound(err, "deployment of a refused submission")
	open, _, err := a.Orders(r.ctx, market.OrderFilter{Owner: a.Address(), State: market.OrderOpen}, market.Page{})
	r.must(err)
	r.want(len(open) == 0, "a refused submission left order %v", open)
	a.wantOwns(Denom, 0, 0)
	a.do(create, market.UpdateDeployment{ID: id, Hash: market.Hash{2}}, market.PauseGroup{ID: market.GroupID{DeploymentID: id, GSeq: 1}})
	d, err := a.Deployment(r.ctx, id)
	r.must(err)
	r.want(d.Hash == market.Hash{2}, "hash is %s", d.Hash)
}

func onlySigners(r *run) {
	a, b := r.actor(), r.actor()
	id := a.deploy(1, r.spec("web", "10"))
	_, err := b.Submit(r.ctx, market.CloseDeployment{ID: id})
	r.want(errors.Is(err, market.ErrUnauthorized), "closing another's deployment: error %v, want ErrUnauthorized", err)
	_, err = b.Submit(r.ctx, market.DepositDeployment{ID: id, Depositor: a.Address(), Amount: market.NewCoin(Denom, 600_000)})
	r.want(errors.Is(err, market.ErrUnauthorized), "depositing another's money: error %v, want ErrUnauthorized", err)
	d, err := a.Deployment(r.ctx, id)
	r.must(err)
	r.want(d.State == market.DeploymentActive, "the deployment is %s", d.State)
}

func argumentsNotKept(r *run) {
	a := r.actor()
	spec := r.spec("web", "10")
	spec.Requirements.Attributes = market.Attributes{{Key: "region", Value: "eu"}}
	o := orderOf(a.deploy(1, spec), 1, 1)
	spec.Requirements.Attributes[0].Value = "scribble"
	spec.Units[0].Storage[0].Bytes = 1
	for range 2 {
		got, err := a.Order(r.ctx, o)
		r.must(err)
		r.want(got.Spec.Requirements.Attributes[0].Value == "eu" && got.Spec.Units[0].Storage[0].Bytes == 1<<30, "spec is %+v", got.Spec)
		got.Spec.Requirements.Attributes[0].Value = "scribble"
		got.Spec.Units[0].Storage[0].Bytes = 1
	}
}

func submissionsSideBySide(r *run) {
	a := r.actor()
	const n = 8
	spec := r.spec("web", "10")
	errs := make(chan error, n)
	for i := range n {
		go func() { // each sends once
			_, err := a.Submit(r.ctx, market.CreateDeployment{
				ID: market.DeploymentID{Owner: a.Address(), DSeq: uint64(i + 1)}, Groups: []market.GroupSpec{spec}, Hash: market.Hash{1}, Deposit: market.NewCoin(Denom, 500_000),
			})
			if err != nil {
				err = fmt.Errorf("submission %d: %w", i+1, err)
			}
			errs <- err
		}()
	}
	var all []error
	for range n {
		all = append(all, <-errs)
	}
	r.must(errors.Join(all...))
	list, _, err := a.Deployments(r.ctx, market.DeploymentFilter{Owner: a.Address()}, market.Page{})
	r.must(err)
	r.want(len(list) == n, "%d deployments, want %d", len(list), n)
}

func endedContext(r *run) {
	a := r.actor()
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	id := market.DeploymentID{Owner: a.Address(), DSeq: 1}
	_, err := a.Submit(ctx, market.CreateDeployment{ID: id, Groups: []market.GroupSpec{r.spec("web", "10")}, Hash: market.Hash{1}, Deposit: market.NewCoin(Denom, deposit)})
	r.want(err != nil, "Submit with an ended context succeeded")
	r.advance(2)
	_, err = a.Deployment(r.ctx, id)
	r.wantNotFound(err, "deployment of an ended submission")
	a.wantOwns(Denom, 0, 0)
}

func hostSaysRules(r *run) {
	a := r.actor()
	got, err := a.Params(r.ctx)
	r.must(err)
	want := Params()
	r.want(fmt.Sprint(got) == fmt.Sprint(want), "params are %+v, want %+v", got, want)
	before := a.head()
	r.advance(1)
	after := a.head()
	r.want(before.ChainID != "" && before.ChainID == after.ChainID, "chain is %q, then %q", before.ChainID, after.ChainID)
	r.want(after.Height > before.Height && !after.Time.Before(before.Time), "head is %+v, then %+v", before, after)
	receipt := a.do(market.CreateProvider{Provider: market.Provider{Owner: a.Address(), HostURI: "https://p.example"}})
	r.want(receipt.Height > after.Height && a.head().Height >= receipt.Height, "receipt names block %d, head was %d", receipt.Height, after.Height)
}
