package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/moorage-dev/moorage/cluster/driver"
)

// explain translates an error of the API into one of the contract, and says
// what was being done. Whatever may pass is transient; that the server could
// not be asked never means that something is not there.
func explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	text := fmt.Errorf("kube: %s: %w", doing, err)
	switch {
	case transient(err):
		return &driver.TransientError{Err: text}
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota"):
		return fmt.Errorf("%w: %s: %w", driver.ErrExhausted, doing, err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return fmt.Errorf("%w: %s: %w", driver.ErrInvalid, doing, err)
	case apierrors.IsAlreadyExists(err):
		return fmt.Errorf("%w: %s: %w", driver.ErrConflict, doing, err)
	}
	return text
}

// transient reports whether a failure may pass: the server is away, slow, busy,
// restarting or the token just ran out. A server that has just started refuses
// everybody until it has read its roles.
func transient(err error) bool {
	var opError net.Error
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot "):
		return true
	case apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsTooManyRequests(err),
		apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err), apierrors.IsUnexpectedServerError(err),
		apierrors.IsConflict(err), apierrors.IsUnauthorized(err), apierrors.IsResourceExpired(err), apierrors.IsGone(err):
		return true
	case utilnet.IsConnectionRefused(err), utilnet.IsConnectionReset(err), utilnet.IsProbableEOF(err), utilnet.IsHTTP2ConnectionLost(err):
		return true
	}
	var status apierrors.APIStatus
	return errors.As(err, &opError) || !errors.As(err, &status) // nothing that the server said
}
