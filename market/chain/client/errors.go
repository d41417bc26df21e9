package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/marketpb"
)

// ErrOutcomeUnknown means that a transaction was sent and the node could not be
// reached since, for longer than the transaction could wait: it may or may not
// have been carried out. Read the state before doing it again.
var ErrOutcomeUnknown = errors.New("outcome unknown")

// fromStatus translates the error of a call.
func fromStatus(what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("client: %s: %w", what, err)
	}
	if refusal, ok := marketpb.ParseError(s.Message()); ok {
		return refusal
	}
	return fmt.Errorf("client: %s: %w: %s", what, sentinel(s), s.Message())
}

// sentinel returns the market's error for a gRPC status.
func sentinel(s *status.Status) error {
	switch s.Code() {
	case codes.NotFound:
		return market.ErrNotFound
	case codes.InvalidArgument, codes.OutOfRange:
		return market.ErrInvalid
	case codes.PermissionDenied, codes.Unauthenticated:
		return market.ErrUnauthorized
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return market.ErrUnavailable
	case codes.OK, codes.Unknown, codes.AlreadyExists, codes.FailedPrecondition, codes.Unimplemented, codes.Internal, codes.DataLoss:
	}
	if strings.Contains(s.Message(), "please wait for first block") {
		return market.ErrUnavailable
	}
	return errNode
}

// simulateError translates the answer to a simulation, which has no codes: the
// SDK's words are all there is.
func simulateError(err error) error {
	text := status.Convert(err).Message()
	switch {
	case status.Code(err) != codes.Unknown:
	case strings.Contains(text, "market refused ["):
	case strings.Contains(text, "insufficient funds"):
		return fmt.Errorf("client: simulate: %w: %s", market.ErrInsufficientFunds, text)
	case strings.Contains(text, "already passed"), strings.Contains(text, "tx timeout"):
		return fmt.Errorf("client: simulate: %w: %w", market.ErrUnavailable, errExpired)
	default:
		return fmt.Errorf("client: simulate: %w: %s", market.ErrInvalid, text)
	}
	return fromStatus("simulate", err)
}

// errNode is a failure of the node that has no other name.
var errNode = errors.New("the node failed")

// Codes of the SDK's own errors (types/errors), which are part of its protocol.
const (
	sdkSpace           = "sdk"
	sdkUnauthorized    = 4
	sdkNoFunds         = 5
	sdkUnknownAddress  = 9
	sdkOutOfGas        = 11
	sdkInsufficientFee = 13
	sdkInCache         = 19
	sdkMempoolFull     = 20
	sdkTooLarge        = 21
	sdkTimeout         = 42
)

// result is how a transaction ended, in the pool or in a block.
type result struct {
	code  uint32
	space string
	log   string
}

func (r result) is(code uint32) bool { return r.space == sdkSpace && r.code == code }

// err translates the result. Whatever it says, nothing was carried out.
func (r result) err() error {
	if r.code == 0 {
		return nil
	}
	if refusal, ok := marketpb.ParseError(r.log); ok {
		return refusal
	}
	kind := market.ErrInvalid
	switch {
	case r.space == marketpb.Codespace && marketpb.SentinelOf(r.code) != nil:
		kind = marketpb.SentinelOf(r.code)
	case r.is(sdkUnauthorized):
		kind = market.ErrUnauthorized
	case r.is(sdkNoFunds), r.is(sdkUnknownAddress):
		kind = market.ErrInsufficientFunds
	case r.is(sdkOutOfGas), r.is(sdkTooLarge):
		kind = market.ErrLimit
	case r.is(sdkInsufficientFee):
		return fmt.Errorf("client: the node asks for a higher gas price: %w: %s", market.ErrInvalid, r.log)
	case r.is(sdkMempoolFull):
		kind = market.ErrUnavailable
	}
	return fmt.Errorf("client: transaction refused: %w: %s (%s %d)", kind, r.log, r.space, r.code)
}
