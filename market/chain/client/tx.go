package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	"github.com/cosmos/cosmos-sdk/x/authz"
	gogoproto "github.com/cosmos/gogoproto/proto"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

type anyMsg = codectypes.Any

// signed is a transaction that is ready to be sent.
type signed struct {
	bytes []byte
	hash  txHash
	fee   market.Coins
	// head is what was newest before it was made: it is in no block up to there.
	head head
	// deadline is the last block time at which it is valid.
	deadline time.Time
}

// checkCount checks that there is something to submit and someone to sign it.
func (c *Client) checkCount(n int) error {
	switch {
	case c.config.Signer == nil:
		return fmt.Errorf("client: submit: %w: this client has no key and only reads", market.ErrUnauthorized)
	case n == 0:
		return fmt.Errorf("client: submit: %w: no message", market.ErrInvalid)
	case n > MaxBatch:
		return fmt.Errorf("client: submit: %w: %d messages at once, at most %d", market.ErrLimit, n, MaxBatch)
	}
	return nil
}

// pack checks the messages and puts them into wire form.
func (c *Client) pack(msgs []market.Msg) ([]*anyMsg, error) {
	if err := c.checkCount(len(msgs)); err != nil {
		return nil, err
	}
	wires := make([]gogoproto.Message, len(msgs))
	for i, m := range msgs {
		wire, err := marketpb.FromMsg(m)
		if err != nil {
			return nil, err
		}
		if m.Signer() != c.Address() {
			return nil, fmt.Errorf("client: submit: %w: %T is to be signed by %s, and this client signs for %s", market.ErrUnauthorized, m, m.Signer(), c.Address())
		}
		wires[i] = wire
	}
	return c.packWire(wires)
}

// packWire puts messages of any module into a transaction's form; those of a
// granter into one message of who is allowed to send them.
func (c *Client) packWire(msgs []gogoproto.Message) ([]*anyMsg, error) {
	out := make([]*anyMsg, len(msgs))
	for i, m := range msgs {
		var err error
		if out[i], err = codectypes.NewAnyWithValue(m); err != nil {
			return nil, fmt.Errorf("client: submit: %w", err)
		}
	}
	if c.config.Granter == "" {
		return out, nil
	}
	exec, err := codectypes.NewAnyWithValue(&authz.MsgExec{Grantee: string(c.config.Signer.Address()), Msgs: out})
	if err != nil {
		return nil, fmt.Errorf("client: submit: %w", err)
	}
	return []*anyMsg{exec}, nil
}

// prepare makes a transaction with the gas that the node says it needs.
func (c *Client) prepare(ctx context.Context, bodies []*anyMsg, gasPercent uint64) (*signed, error) {
	chain, err := c.chain(ctx)
	if err != nil {
		return nil, err
	}
	number, err := c.accountNumber(ctx)
	if err != nil {
		return nil, err
	}
	h, err := c.head(ctx)
	if err != nil {
		return nil, err
	}
	t := &signed{head: h, deadline: h.time.Add(c.config.Timeout).Add(uniqueOffset())}
	body := &txtypes.TxBody{Messages: bodies, Unordered: true, TimeoutTimestamp: &t.deadline}
	gas, err := c.simulate(ctx, body)
	if err != nil {
		return nil, err
	}
	if gas > math.MaxUint64/gasPercent {
		return nil, fmt.Errorf("client: gas %d: %w", gas, market.ErrOverflow)
	}
	gas = gas * gasPercent / 100
	if t.fee, err = c.price.fee(gas); err != nil {
		return nil, fmt.Errorf("client: fee: %w", err)
	}
	if t.bytes, err = c.sign(body, gas, t.fee, chain, number); err != nil {
		return nil, err
	}
	t.hash = sha256.Sum256(t.bytes)
	return t, nil
}

// uniqueOffset tells apart transactions of one account that are made at the
// same height: the chain takes each time limit of an account once.
func uniqueOffset() time.Duration {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(time.Second))
}

// simulate asks the node to carry the messages out without keeping the result.
// What the market refuses is refused here, before anything is paid.
func (c *Client) simulate(ctx context.Context, body *txtypes.TxBody) (uint64, error) {
	info, err := c.authInfo(0, nil)
	if err != nil {
		return 0, err
	}
	bodyBytes, err := body.Marshal()
	if err != nil {
		return 0, fmt.Errorf("client: simulate: %w", err)
	}
	raw := &txtypes.TxRaw{BodyBytes: bodyBytes, AuthInfoBytes: info, Signatures: [][]byte{{}}}
	bytes, err := raw.Marshal()
	if err != nil {
		return 0, fmt.Errorf("client: simulate: %w", err)
	}
	r, err := c.tx.Simulate(ctx, &txtypes.SimulateRequest{TxBytes: bytes})
	if err != nil {
		return 0, simulateError(err)
	}
	return r.GetGasInfo().GetGasUsed(), nil
}

// authInfo encodes who signs and what is paid.
func (c *Client) authInfo(gas uint64, fee market.Coins) ([]byte, error) {
	key, err := codectypes.NewAnyWithValue(c.config.Signer.PublicKey())
	if err != nil {
		return nil, fmt.Errorf("client: public key: %w", err)
	}
	info := &txtypes.AuthInfo{
		SignerInfos: []*txtypes.SignerInfo{{
			PublicKey: key,
			ModeInfo: &txtypes.ModeInfo{Sum: &txtypes.ModeInfo_Single_{
				Single: &txtypes.ModeInfo_Single{Mode: signing.SignMode_SIGN_MODE_DIRECT},
			}},
		}},
		Fee: &txtypes.Fee{Amount: marketpb.FromCoins(fee), GasLimit: gas, Granter: string(c.config.FeeGranter)},
	}
	b, err := info.Marshal()
	if err != nil {
		return nil, fmt.Errorf("client: sign: %w", err)
	}
	return b, nil
}

// sign makes the bytes that are sent (SIGN_MODE_DIRECT).
func (c *Client) sign(body *txtypes.TxBody, gas uint64, fee market.Coins, chain string, number uint64) ([]byte, error) {
	bodyBytes, err := body.Marshal()
	if err != nil {
		return nil, fmt.Errorf("client: sign: %w", err)
	}
	info, err := c.authInfo(gas, fee)
	if err != nil {
		return nil, err
	}
	doc := &txtypes.SignDoc{BodyBytes: bodyBytes, AuthInfoBytes: info, ChainId: chain, AccountNumber: number}
	docBytes, err := doc.Marshal()
	if err != nil {
		return nil, fmt.Errorf("client: sign: %w", err)
	}
	signature, err := c.config.Signer.Sign(docBytes)
	if err != nil {
		return nil, fmt.Errorf("client: sign: %w", err)
	}
	raw := &txtypes.TxRaw{BodyBytes: bodyBytes, AuthInfoBytes: info, Signatures: [][]byte{signature}}
	b, err := raw.Marshal()
	if err != nil {
		return nil, fmt.Errorf("client: sign: %w", err)
	}
	return b, nil
}
