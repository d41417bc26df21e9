package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	authv1beta1 "cosmossdk.io/api/cosmos/auth/v1beta1"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	gogoproto "github.com/cosmos/gogoproto/proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/moorage-dev/moorage/market"
)

// Bounds of a submission.
const (
	// MaxBatch is the most messages of one [Client.Submit].
	MaxBatch = 256
	// maxAttempts bounds how often a transaction that is certain not to have been
	// carried out is made anew: with more gas, or with a later time limit.
	maxAttempts = 3
	// resendPolls is how many polls to wait before the same bytes are sent again,
	// to a node that may have lost its pool.
	resendPolls = 100
	// contactLost is how long blocks may not be readable, beyond the transaction's
	// own time, before the wait ends.
	contactLost = time.Minute
)

// errRead marks a failure to read the chain after a transaction was handed over.
// Whatever it is, it says nothing about the transaction.
var errRead = errors.New("blocks cannot be read")

// errExpired means that no block took the transaction in time.
var errExpired = errors.New("no block took the transaction in time")

// errOutOfGas means that it used more than the node had said.
var errOutOfGas = errors.New("out of gas")

// Submit implements [market.Writer]. When the context ends after the
// transaction was sent, or the node is out of reach for too long, the error
// wraps [ErrOutcomeUnknown].
func (c *Client) Submit(ctx context.Context, msgs ...market.Msg) (market.Receipt, error) {
	bodies, err := c.pack(msgs)
	if err != nil {
		return market.Receipt{}, err
	}
	return c.submit(ctx, bodies)
}

// SubmitWire is [Client.Submit] for messages of any module of the chain, such
// as grants and transfers, in wire form.
func (c *Client) SubmitWire(ctx context.Context, msgs ...gogoproto.Message) (market.Receipt, error) {
	if err := c.checkCount(len(msgs)); err != nil {
		return market.Receipt{}, err
	}
	bodies, err := c.packWire(msgs)
	if err != nil {
		return market.Receipt{}, err
	}
	return c.submit(ctx, bodies)
}

func (c *Client) submit(ctx context.Context, bodies []*anyMsg) (market.Receipt, error) {
	percent := c.config.GasPercent
	for attempt := 1; ; attempt++ {
		receipt, err := c.submitOnce(ctx, bodies, percent)
		switch {
		case err == nil:
			return receipt, nil
		case attempt < maxAttempts && errors.Is(err, errOutOfGas):
			percent *= 2
		case attempt < maxAttempts && errors.Is(err, errExpired):
		default:
			return market.Receipt{}, err
		}
		c.log.WarnContext(ctx, "transaction was not carried out and is made anew", "error", err)
	}
}

func (c *Client) submitOnce(ctx context.Context, bodies []*anyMsg, gasPercent uint64) (market.Receipt, error) {
	t, err := c.prepare(ctx, bodies, gasPercent)
	if err != nil {
		return market.Receipt{}, err
	}
	height, err := c.deliver(ctx, t)
	if err != nil {
		return market.Receipt{}, err
	}
	return market.Receipt{TxID: t.hash.String(), Height: height, Fee: t.fee}, nil
}

// delivery follows one signed transaction.
type delivery struct {
	*signed
	// next is the first height not looked at.
	next int64
	// sent is set once the node may have taken the transaction.
	sent bool
	// failing is since when no read has gone through to the newest block.
	failing time.Time
}

// deliver sends a transaction until a block has it, and returns that block's
// height. Once it is sent, only its own result in a block, or the last block that
// could have had it, decides.
func (c *Client) deliver(ctx context.Context, t *signed) (int64, error) {
	d := &delivery{signed: t, next: t.head.height + 1}
	retry := firstRetry
	for {
		patience := resendPolls * c.config.Poll
		if pooled, err := c.send(ctx, d); err != nil {
			return 0, err
		} else if !pooled {
			patience = min(patience, retry)
			retry = min(2*retry, lastRetry)
		} else {
			retry = firstRetry
		}
		wait, cancel := context.WithTimeout(ctx, patience)
		height, err := c.find(wait, d)
		noNews := wait.Err() != nil
		cancel()
		switch {
		case !errors.Is(err, errRead):
			return height, err
		case ctx.Err() != nil:
			return 0, d.lost(ctx.Err())
		case noNews: // send again
		case d.gaveUp(c.config.Timeout + contactLost):
			// The kind of err is that of the read, not of the transaction.
			return 0, d.lost(fmt.Errorf("for too long: %s", err.Error()))
		default:
			if err := pause(ctx, retry); err != nil {
				return 0, d.lost(err)
			}
		}
	}
}

// gaveUp notes a failure to read and reports whether they have lasted too long.
func (d *delivery) gaveUp(patience time.Duration) bool {
	if d.failing.IsZero() {
		d.failing = time.Now()
	}
	return time.Since(d.failing) > patience
}

// lost is the error for a wait that ends without an answer.
func (d *delivery) lost(err error) error {
	if !d.sent {
		return fmt.Errorf("client: transaction was not sent: %w: %w", market.ErrUnavailable, err)
	}
	return fmt.Errorf("client: transaction %s: %w: %w", d.hash, ErrOutcomeUnknown, err)
}

// send hands the transaction to the node and reports whether the node's pool
// has it. An error says that it was refused and can be in no block.
func (c *Client) send(ctx context.Context, d *delivery) (pooled bool, err error) {
	r, err := c.tx.BroadcastTx(ctx, &txtypes.BroadcastTxRequest{TxBytes: d.bytes, Mode: txtypes.BroadcastMode_BROADCAST_MODE_SYNC})
	if err != nil || r.TxResponse == nil {
		// It may have arrived; find will tell.
		d.sent = d.sent || !neverArrived(err)
		return false, nil
	}
	res := result{r.TxResponse.Code, r.TxResponse.Codespace, r.TxResponse.RawLog}
	switch {
	case res.code == 0, res.is(sdkInCache):
		d.sent = true
		return true, nil
	case res.is(sdkMempoolFull), d.sent:
		return false, nil
	}
	return false, res.outcome()
}

// neverArrived reports whether a failed call is certain not to have reached the
// node. gRPC does not tell for calls that were under way.
func neverArrived(err error) bool {
	s := status.Convert(err)
	return s.Code() == codes.Unavailable && strings.Contains(s.Message(), "connection error")
}

// outcome is the error for a result that ends the transaction.
func (r result) outcome() error {
	switch {
	case r.is(sdkOutOfGas):
		return fmt.Errorf("client: %w: %w", errOutOfGas, r.err())
	case r.is(sdkTimeout), r.code != 0 && strings.Contains(r.log, "timeout_timestamp that has already passed"):
		return fmt.Errorf("client: %w: %w", market.ErrUnavailable, errExpired)
	}
	return r.err()
}

// find reads blocks until one has the transaction. An error that does not wrap
// [errRead] is what became of it.
func (c *Client) find(ctx context.Context, d *delivery) (int64, error) {
	for {
		newest, err := c.headAbove(ctx, d.next-1)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errRead, err)
		}
		for ; d.next <= newest.height; d.next++ {
			b, err := c.blockAt(ctx, d.next)
			if err != nil {
				return 0, fmt.Errorf("%w: %w", errRead, err)
			}
			if r, ok := b.txs[d.hash]; ok {
				return b.height, r.outcome()
			}
		}
		d.failing = time.Time{}
		if newest.time.After(d.deadline) {
			return 0, fmt.Errorf("client: transaction %s: %w: %w", d.hash, market.ErrUnavailable, errExpired)
		}
	}
}

// accountNumber returns the number by which the chain knows the account, which
// it asks for once.
func (c *Client) accountNumber(ctx context.Context) (uint64, error) {
	c.mu.Lock()
	number, known := c.number, c.numbered
	c.mu.Unlock()
	if known {
		return number, nil
	}
	r, err := c.account.AccountInfo(ctx, &authv1beta1.QueryAccountInfoRequest{Address: string(c.config.Signer.Address())})
	if status.Code(err) == codes.NotFound {
		return 0, fmt.Errorf("client: the chain does not know account %s: %w: send it money first", c.config.Signer.Address(), market.ErrInsufficientFunds)
	} else if err != nil {
		return 0, fromStatus("account", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number, c.numbered = r.GetInfo().GetAccountNumber(), true
	return c.number, nil
}
