package marketpb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/x/authz"

	"github.com/moorage-dev/moorage/market"
)

var _ authz.Authorization = (*DeploymentAuthorization)(nil)

// MaxGrants bounds the deployments of one [DeploymentAuthorization]: it is read
// and written as one value.
const MaxGrants = 100

// gasPerGrant is what looking at one entry costs, as the SDK asks for lists.
const gasPerGrant = 10

// MsgTypeURL implements [authz.Authorization]. It is empty for an unknown role.
func (a *DeploymentAuthorization) MsgTypeURL() string {
	switch a.Role {
	case ROLE_DEPOSIT:
		return sdk.MsgTypeURL(&MsgDepositDeployment{})
	case ROLE_UPDATE:
		return sdk.MsgTypeURL(&MsgUpdateDeployment{})
	case ROLE_CLOSE:
		return sdk.MsgTypeURL(&MsgCloseDeployment{})
	case ROLE_SCALE:
		return sdk.MsgTypeURL(&MsgScaleLease{})
	case ROLE_UNSPECIFIED:
	}
	return ""
}

// ValidateBasic implements [authz.Authorization]. The error wraps
// [market.ErrInvalid] or [market.ErrLimit].
func (a *DeploymentAuthorization) ValidateBasic() error {
	if a.MsgTypeURL() == "" {
		return market.Refuse(market.ErrInvalid, "grant-role", "role %d is not known", a.Role)
	}
	if len(a.Grants) == 0 {
		return market.Refuse(market.ErrInvalid, "grant-empty", "want at least one deployment")
	}
	if len(a.Grants) > MaxGrants {
		return market.Refuse(market.ErrLimit, "grant-count", "%d deployments in one authorization, at most %d", len(a.Grants), MaxGrants)
	}
	for i, g := range a.Grants {
		if err := a.checkGrant(g); err != nil {
			return err
		}
		if slices.ContainsFunc(a.Grants[:i], g.same) {
			return market.Refuse(market.ErrInvalid, "grant-twice", "deployment %s is there twice", g.id())
		}
	}
	return nil
}

func (a *DeploymentAuthorization) checkGrant(g DeploymentGrant) error {
	if err := g.id().Validate(); err != nil {
		return err
	}
	switch a.Role {
	case ROLE_DEPOSIT:
		if g.SpendLimit.Validate() != nil || g.SpendLimit.Empty() {
			return market.Refuse(market.ErrInvalid, "grant-bounds", "deployment %s: want a spend limit, coins sorted by denomination", g.id())
		}
		g.SpendLimit = nil
	case ROLE_SCALE:
		if err := g.checkScale(); err != nil {
			return err
		}
		g.Counts, g.MaxPrice = nil, nil
	case ROLE_UNSPECIFIED, ROLE_UPDATE, ROLE_CLOSE:
	}
	if len(g.SpendLimit) > 0 || len(g.Counts) > 0 || g.MaxPrice != nil {
		return market.Refuse(market.ErrInvalid, "grant-bounds", "deployment %s: bounds of another role than %s", g.id(), a.Role)
	}
	return nil
}

func (g DeploymentGrant) id() market.DeploymentID {
	return IDParts{Owner: g.Owner, Dseq: g.Dseq}.Deployment()
}

func (g DeploymentGrant) same(other DeploymentGrant) bool { return g.id() == other.id() }

func (g DeploymentGrant) expired(now time.Time) bool {
	return g.ExpiresAt != nil && !g.ExpiresAt.After(now)
}

// Accept implements [authz.Authorization]: it allows the role's message for a
// deployment that is listed, within the entry's bounds, and counts down what is
// used up.
func (a *DeploymentAuthorization) Accept(ctx context.Context, msg sdk.Msg) (authz.AcceptResponse, error) {
	id, ok := a.subject(msg)
	if !ok {
		return authz.AcceptResponse{}, WireError(market.Refuse(market.ErrUnauthorized, "grant-role", "%s does not allow %s", a.Role, sdk.MsgTypeURL(msg)))
	}
	c := sdk.UnwrapSDKContext(ctx)
	c.GasMeter().ConsumeGas(gasPerGrant*uint64(len(a.Grants)), "deployments of an authorization")
	i := slices.IndexFunc(a.Grants, func(g DeploymentGrant) bool { return g.id() == id && !g.expired(c.BlockTime()) })
	if i < 0 {
		return authz.AcceptResponse{}, WireError(market.Refuse(market.ErrUnauthorized, "grant-deployment", "%s is not granted for deployment %s", a.Role, id))
	}
	left, used, err := a.Grants[i].use(msg)
	if err != nil {
		return authz.AcceptResponse{}, WireError(err)
	}
	return a.accepted(i, left, used), nil
}

// subject returns the deployment that a message of the role is about.
func (a *DeploymentAuthorization) subject(msg sdk.Msg) (market.DeploymentID, bool) {
	var p IDParts
	switch m := msg.(type) {
	case *MsgDepositDeployment:
		p = IDParts{Owner: m.Owner, Dseq: m.Dseq}
	case *MsgUpdateDeployment:
		p = IDParts{Owner: m.Owner, Dseq: m.Dseq}
	case *MsgScaleLease:
		p = IDParts{Owner: m.Owner, Dseq: m.Dseq}
	case *MsgCloseDeployment:
		p = IDParts{Owner: m.Owner, Dseq: m.Dseq}
	}
	return p.Deployment(), sdk.MsgTypeURL(msg) == a.MsgTypeURL()
}

// use returns what is left of a grant after a message, and whether that is
// different from what it was.
func (g DeploymentGrant) use(msg sdk.Msg) (left DeploymentGrant, used bool, err error) {
	switch m := msg.(type) {
	case *MsgDepositDeployment:
		return g.deposit(m)
	case *MsgScaleLease:
		return g, false, g.allowScale(m)
	}
	return g, false, nil
}

func (g DeploymentGrant) deposit(m *MsgDepositDeployment) (left DeploymentGrant, used bool, err error) {
	if !m.Amount.IsValid() || !m.Amount.IsPositive() {
		return g, false, market.Refuse(market.ErrInvalid, "deposit-amount", "want a positive amount")
	}
	rest, short := g.SpendLimit.SafeSub(m.Amount)
	if short {
		return g, false, market.Refuse(market.ErrLimit, "grant-spend-limit", "%s is more than what is left, %s", m.Amount, g.SpendLimit)
	}
	g.SpendLimit = rest
	return g, true, nil
}

// accepted is the answer when entry i was used.
func (a *DeploymentAuthorization) accepted(i int, left DeploymentGrant, used bool) authz.AcceptResponse {
	if !used {
		return authz.AcceptResponse{Accept: true}
	}
	grants := slices.Clone(a.Grants)
	grants[i] = left
	if left.SpendLimit.IsZero() {
		grants = slices.Delete(grants, i, i+1)
	}
	return authz.AcceptResponse{
		Accept: true, Delete: len(grants) == 0,
		Updated: &DeploymentAuthorization{Role: a.Role, Grants: grants},
	}
}

// Lasting is an authorization and when it ends; nil is never.
type Lasting struct {
	Authorization *DeploymentAuthorization
	ExpiresAt     *time.Time
}

// settled returns the entries that count at a time, each with the expiry that
// it has from the whole.
func (l Lasting) settled(now time.Time) []DeploymentGrant {
	var out []DeploymentGrant
	if l.Authorization == nil {
		return nil
	}
	for _, g := range l.Authorization.Grants {
		if g.ExpiresAt == nil || l.ExpiresAt != nil && l.ExpiresAt.Before(*g.ExpiresAt) {
			g.ExpiresAt = l.ExpiresAt
		}
		if !g.expired(now) {
			out = append(out, g)
		}
	}
	return out
}

// Merge returns what is granted after next is granted on top of old: the
// entries of next, and those of old for other deployments. What has expired is
// left out; an authorization without entries is nothing. The result is as long
// as its longest entry. The error wraps [market.ErrLimit] when there are more
// than [MaxGrants].
func Merge(old, next Lasting, now time.Time) (Lasting, error) {
	grants := next.settled(now)
	for _, g := range old.settled(now) {
		if !slices.ContainsFunc(next.Authorization.Grants, g.same) {
			grants = append(grants, g)
		}
	}
	if len(grants) > MaxGrants {
		return Lasting{}, market.Refuse(market.ErrLimit, "grant-count", "%d deployments would be granted, at most %d: revoke some", len(grants), MaxGrants)
	}
	slices.SortFunc(grants, func(x, y DeploymentGrant) int {
		return cmp.Or(cmp.Compare(x.Owner, y.Owner), cmp.Compare(x.Dseq, y.Dseq))
	})
	out := Lasting{Authorization: &DeploymentAuthorization{Role: next.Authorization.Role, Grants: grants}}
	for i, g := range grants {
		if g.ExpiresAt == nil {
			out.ExpiresAt = nil
			break
		}
		if i == 0 || g.ExpiresAt.After(*out.ExpiresAt) {
			out.ExpiresAt = g.ExpiresAt
		}
	}
	return out, nil
}

// NewGrant makes the message by which granter allows grantee a role for
// deployments until a time; nil is for ever. The error wraps
// [market.ErrInvalid].
func NewGrant(granter, grantee market.Address, a *DeploymentAuthorization, until *time.Time) (*authz.MsgGrant, error) {
	if err := a.ValidateBasic(); err != nil {
		return nil, err
	}
	m := &authz.MsgGrant{Granter: string(granter), Grantee: string(grantee), Grant: authz.Grant{Expiration: until}}
	if err := m.SetAuthorization(a); err != nil {
		return nil, fmt.Errorf("marketpb: grant: %w", err)
	}
	return m, nil
}
