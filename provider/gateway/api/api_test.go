package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/go-multierror"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// sentinels are all errors that cross the wire.
func sentinels() []error {
	return []error{
		api.ErrUnauthenticated, api.ErrForbidden, api.ErrMalformed, api.ErrTooLarge, api.ErrTooMany, api.ErrStreamGone, api.ErrInternal,
		market.ErrNotFound, market.ErrExists, market.ErrInvalid, market.ErrState, market.ErrUnauthorized,
		market.ErrInsufficientFunds, market.ErrLimit, market.ErrMismatch, market.ErrUnavailable,
		driver.ErrNotFound, driver.ErrExhausted, driver.ErrInvalid, driver.ErrConflict, driver.ErrClosed,
		errors.ErrUnsupported, context.DeadlineExceeded, context.Canceled,
	}
}

func TestEverySentinelSurvivesTheWire(t *testing.T) {
	for _, s := range sentinels() {
		sent := api.FromError(fmt.Errorf("where: %w: what", s))
		body, err := json.Marshal(api.Body{Error: sent})
		require.NoError(t, err)
		var got api.Body
		require.NoError(t, json.Unmarshal(body, &got))
		assert.ErrorIs(t, got.Error, s)
		assert.Equal(t, sent.Status, api.Status(got.Error.Code))
		assert.GreaterOrEqual(t, sent.Status, 400)
	}
}

func TestFaultsOfTheInsideTellNothing(t *testing.T) {
	for _, err := range []error{
		errors.New("secret"), &driver.TransientError{Err: errors.New("secret")},
		fmt.Errorf("secret: %w", market.ErrUnavailable), fmt.Errorf("secret: %w", context.DeadlineExceeded),
		multierror.Append(nil, errors.New("secret")),
	} {
		body, e := json.Marshal(api.FromError(err))
		require.NoError(t, e)
		assert.NotContains(t, string(body), "secret")
	}
}

func TestRulesAndListsBecomeDetails(t *testing.T) {
	e := api.FromError(fmt.Errorf("provider: %w", market.Refuse(market.ErrMismatch, "manifest-hash", "want %d", 1)))
	assert.Equal(t, &api.Error{Status: 422, Code: api.CodeMismatch, Rule: "manifest-hash", Message: "want 1"}, e)
	assert.Equal(t, "gateway: mismatch: manifest-hash: want 1", e.Error())

	list := manifest.Mismatches{
		{Group: "g", Field: "cpu", Want: "1", Got: "2", Kind: market.ErrMismatch},
		{Group: "g", Field: "memory", Want: "3", Got: "4", Kind: market.ErrMismatch},
	}
	e = api.FromError(fmt.Errorf("provider: %w", list))
	assert.Equal(t, api.CodeMismatch, e.Code)
	require.Len(t, e.Details, 2)
	assert.Contains(t, e.Details[1], "memory")

	var many *multierror.Error
	for range 500 {
		many = multierror.Append(many, market.ErrInvalid)
	}
	assert.Len(t, api.FromError(many).Details, 100)
}

func TestOddErrorsHaveTheirCodes(t *testing.T) {
	assert.Equal(t, api.CodeTooLarge, api.FromError(fmt.Errorf("x: %w", &http.MaxBytesError{Limit: 1})).Code)
	assert.Equal(t, api.CodeMalformed, api.FromError(io.ErrUnexpectedEOF).Code)
	own := api.NewError(api.CodeState, "as it is")
	assert.Same(t, own, api.FromError(fmt.Errorf("wrapped: %w", own)))
	assert.Equal(t, http.StatusInternalServerError, api.Status("made-up"))
	assert.False(t, (&api.Error{Code: "made-up"}).Is(market.ErrNotFound))
	assert.True(t, api.NewError(api.CodeTooMany, "x").Temporary())
	assert.False(t, api.NewError(api.CodeNotFound, "x").Temporary())
	long := api.FromError(fmt.Errorf("%w: %s", market.ErrInvalid, strings.Repeat("x", 10_000)))
	assert.Less(t, len(long.Message), 600, "fits in what clients read of a refused handshake")
}

func TestScopesAreThoseOfTheStandard(t *testing.T) {
	assert.Len(t, api.GrantableScopes(), 10)
	assert.True(t, api.ScopeShell.Grantable())
	assert.False(t, api.ScopePublic.Grantable())
	assert.False(t, api.ScopeAny.Grantable())
	assert.True(t, api.All{}.Allows(api.Access{Scope: api.ScopeShell}))
}

func TestLeaseDocumentKeepsTheProvidersAffairsOut(t *testing.T) {
	st := driver.Status{Revision: 2, Services: []driver.ServiceStatus{{
		Name: "web", State: driver.Failing, Reason: "exited", Replicas: []driver.ReplicaStatus{{Node: "node-17", State: driver.Failing}},
	}}}
	doc := api.LeaseFromDriver(market.LeaseID{}, api.PhaseFailing, "web fails", st)
	body, err := json.Marshal(doc)
	require.NoError(t, err)
	assert.NotContains(t, string(body), "node-17")
	assert.Contains(t, string(body), `"state":"failing"`)
	s, ok := doc.Service("web")
	assert.True(t, ok)
	assert.Equal(t, "exited", s.Reason)
	_, ok = doc.Service("db")
	assert.False(t, ok)

	body, err = json.Marshal(api.LeaseFromDriver(market.LeaseID{}, api.PhaseAwaitingManifest, "", driver.Status{}))
	require.NoError(t, err)
	assert.Contains(t, string(body), `"services":[]`)
}
