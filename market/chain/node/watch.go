package node

import (
	"context"
	"fmt"
	"sync"

	abci "github.com/cometbft/cometbft/abci/types"
)

// watched is the application as the consensus engine sees it. CometBFT stops
// making blocks when the application panics or fails, but goes on looking
// healthy; this wrapper remembers the fault and tells [Node.Run].
type watched struct {
	abci.Application

	// fault holds the first fault until Run takes it.
	fault chan error
	// live is set when blocks are new ones, not the log being replayed.
	live func() bool
	// made is closed after the first new block.
	made     chan struct{}
	madeOnce sync.Once
}

func newWatched(a abci.Application, live func() bool, made chan struct{}) *watched {
	return &watched{Application: a, fault: make(chan error, 1), live: live, made: made}
}

// report keeps the first fault.
func (w *watched) report(what string, err error) {
	select {
	case w.fault <- fmt.Errorf("node: %w: %s: %w", ErrFault, what, err):
	default:
	}
}

// guard reports a panic and lets it go on: the engine must not continue.
func (w *watched) guard(what string) {
	if r := recover(); r != nil {
		w.report(what, fmt.Errorf("the application panicked: %v", r))
		panic(r)
	}
}

// FinalizeBlock implements [abci.Application].
func (w *watched) FinalizeBlock(ctx context.Context, r *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	what := fmt.Sprintf("block %d", r.Height)
	defer w.guard(what)
	res, err := w.Application.FinalizeBlock(ctx, r)
	if err != nil {
		w.report(what, err)
	}
	return res, err
}

// Commit implements [abci.Application].
func (w *watched) Commit(ctx context.Context, r *abci.RequestCommit) (*abci.ResponseCommit, error) {
	defer w.guard("commit")
	res, err := w.Application.Commit(ctx, r)
	if err != nil {
		w.report("commit", err)
	} else if w.live() {
		w.madeOnce.Do(func() { close(w.made) })
	}
	return res, err
}

// PrepareProposal implements [abci.Application].
func (w *watched) PrepareProposal(ctx context.Context, r *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	defer w.guard("prepare proposal")
	return w.Application.PrepareProposal(ctx, r)
}

// ProcessProposal implements [abci.Application].
func (w *watched) ProcessProposal(ctx context.Context, r *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	defer w.guard("process proposal")
	return w.Application.ProcessProposal(ctx, r)
}
