package jwt_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/jwt"
)

const (
	us   market.Address = "akash1us"
	them market.Address = "akash1them"
)

type account struct {
	key  *secp256k1.PrivateKey
	addr market.Address
}

func newAccount(tb testing.TB) account {
	tb.Helper()
	key, err := secp256k1.GeneratePrivateKey()
	require.NoError(tb, err)
	addr, err := jwt.Address("akash", key.PubKey().SerializeCompressed())
	require.NoError(tb, err)
	return account{key, addr}
}

func (a account) sign(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	return ecdsa.SignCompact(a.key, digest[:], true)[1:], nil
}

func verifier(tb testing.TB, cfg jwt.Config) *jwt.Verifier {
	tb.Helper()
	cfg.Provider = us
	v, err := jwt.NewVerifier(cfg)
	require.NoError(tb, err)
	return v
}

// full returns claims that grant everything for a quarter of an hour.
func full(a account, now time.Time) jwt.Claims {
	c := jwt.Lasting(a.addr, now, 15*time.Minute)
	c.Leases.Access = jwt.Full
	return c
}

func TestTokenProvesItsIssuer(t *testing.T) {
	a, now := newAccount(t), time.Now()
	for _, alg := range []jwt.Algorithm{jwt.ES256K, jwt.ES256KADR36} {
		token, err := jwt.Sign(full(a, now), alg, a.sign)
		require.NoError(t, err)
		got, grants, err := verifier(t, jwt.Config{}).VerifyToken(t.Context(), token, now)
		require.NoError(t, err, alg)
		assert.Equal(t, a.addr, got)
		assert.True(t, grants.Allows(api.Access{Scope: api.ScopeShell, Provider: us, DSeq: 1}))
	}
	_, err := jwt.Sign(full(a, now), "none", a.sign)
	require.Error(t, err)
}

func TestAddressNeedsACompressedKeyAndALowerCasePrefix(t *testing.T) {
	key := secp256k1.PrivKeyFromBytes([]byte{1}).PubKey()
	for prefix, k := range map[string][]byte{
		"akash": key.SerializeCompressed()[1:], "akash2": key.SerializeUncompressed(), "Akash": key.SerializeCompressed(), "": key.SerializeCompressed(),
	} {
		_, err := jwt.Address(prefix, k)
		require.ErrorIs(t, err, market.ErrInvalid, prefix)
	}
}

// forge replaces a part of a token.
func forge(token string, part int, with string) string {
	parts := strings.Split(token, ".")
	parts[part] = with
	return strings.Join(parts, ".")
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestForgedTokensProveNothing(t *testing.T) {
	a, other, now := newAccount(t), newAccount(t), time.Now()
	good, err := jwt.Sign(full(a, now), jwt.ES256K, a.sign)
	require.NoError(t, err)
	foreign, err := jwt.Sign(full(a, now), jwt.ES256K, other.sign)
	require.NoError(t, err)
	wrapped, err := jwt.Sign(full(a, now), jwt.ES256KADR36, a.sign)
	require.NoError(t, err)
	high, err := jwt.Sign(full(a, now), jwt.ES256K, func(m []byte) ([]byte, error) {
		sig, err := a.sign(m)
		var s secp256k1.ModNScalar
		s.SetByteSlice(sig[32:])
		s.Negate()
		b := s.Bytes()
		return append(sig[:32], b[:]...), err
	})
	require.NoError(t, err)
	claims := strings.Split(good, ".")[1]
	raw, err := base64.RawURLEncoding.DecodeString(claims)
	require.NoError(t, err)
	longer := strings.Replace(string(raw), `"version":"v1"`, `"version":"v1","jti":"x"`, 1)

	cases := map[string]struct {
		token string
		want  error
	}{
		"empty":                       {"", jwt.ErrForm},
		"two parts":                   {good[:strings.LastIndex(good, ".")], jwt.ErrForm},
		"four parts":                  {good + ".x", jwt.ErrForm},
		"too long":                    {good + strings.Repeat("x", jwt.MaxToken), jwt.ErrForm},
		"not base64":                  {forge(good, 1, "!!"), jwt.ErrForm},
		"padded base64":               {good + "=", jwt.ErrForm},
		"loose bits":                  {good[:len(good)-1] + next(good[len(good)-1]), jwt.ErrForm},
		"no algorithm":                {forge(good, 0, encode(`{"alg":"none"}`)), jwt.ErrForm},
		"empty algorithm":             {forge(good, 0, encode(`{}`)), jwt.ErrForm},
		"symmetric algorithm":         {forge(good, 0, encode(`{"alg":"HS256"}`)), jwt.ErrForm},
		"another type":                {forge(good, 0, encode(`{"alg":"ES256K","typ":"JWE"}`)), jwt.ErrForm},
		"critical extension":          {forge(good, 0, encode(`{"alg":"ES256K","crit":["b64"]}`)), jwt.ErrForm},
		"header changed":              {forge(good, 0, encode(`{"alg":"ES256K"}`)), jwt.ErrSignature},
		"claims changed":              {forge(good, 1, encode(longer)), jwt.ErrSignature},
		"signature of another":        {foreign, jwt.ErrSignature},
		"signature missing":           {forge(good, 2, ""), jwt.ErrSignature},
		"signature of zeros":          {forge(good, 2, encode(string(make([]byte, 64)))), jwt.ErrSignature},
		"signature of ones":           {forge(good, 2, encode(strings.Repeat("\xff", 64))), jwt.ErrSignature},
		"signature in the upper half": {high, jwt.ErrSignature},
		"plain read as wrapped":       {forge(good, 0, encode(`{"alg":"ES256KADR36","typ":"JWT"}`)), jwt.ErrSignature},
		"wrapped read as plain":       {forge(wrapped, 0, encode(`{"alg":"ES256K","typ":"JWT"}`)), jwt.ErrSignature},
	}
	v := verifier(t, jwt.Config{})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, grants, err := v.VerifyToken(t.Context(), tc.token, now)
			require.ErrorIs(t, err, api.ErrUnauthenticated)
			require.ErrorIs(t, err, tc.want)
			assert.Nil(t, grants)
		})
	}
}

// next returns another last character with the same meaning for a loose decoder.
func next(c byte) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(digits[strings.IndexByte(digits, c)|1])
}

func TestTimesAreHeld(t *testing.T) {
	a, now := newAccount(t), time.Now()
	token, err := jwt.Sign(full(a, now), jwt.ES256K, a.sign)
	require.NoError(t, err)
	v := verifier(t, jwt.Config{})
	for at, want := range map[time.Duration]error{
		-jwt.Leeway:                  nil,
		-jwt.Leeway - 2*time.Second:  jwt.ErrTime,
		15*time.Minute - time.Second: nil,
		15*time.Minute + time.Second: jwt.ErrTime,
		100 * 365 * 24 * time.Hour:   jwt.ErrTime,
	} {
		_, _, err := v.VerifyToken(t.Context(), token, now.Add(at))
		require.ErrorIs(t, err, want, at)
	}
	_, _, err = verifier(t, jwt.Config{MaxLifetime: 15*time.Minute - time.Second}).VerifyToken(t.Context(), token, now)
	require.ErrorIs(t, err, jwt.ErrTime, "good for too long")
}

func TestTokenForAnotherProviderIsRefused(t *testing.T) {
	a, now := newAccount(t), time.Now()
	verify := func(cfg jwt.Config, change func(*jwt.Claims)) error {
		c := full(a, now)
		change(&c)
		token, err := jwt.Sign(c, jwt.ES256K, a.sign)
		require.NoError(t, err)
		_, _, err = verifier(t, cfg).VerifyToken(t.Context(), token, now)
		return err
	}
	granular := func(p market.Address) func(*jwt.Claims) {
		return func(c *jwt.Claims) {
			c.Leases = jwt.Leases{Access: jwt.Granular, Permissions: []jwt.Permission{{Provider: p, Access: jwt.Full}}}
		}
	}
	strict := jwt.Config{RequireAudience: true}
	require.NoError(t, verify(jwt.Config{}, func(c *jwt.Claims) { c.Audience = jwt.Audience{them, us} }))
	require.ErrorIs(t, verify(jwt.Config{}, func(c *jwt.Claims) { c.Audience = jwt.Audience{them} }), jwt.ErrAudience)
	require.NoError(t, verify(jwt.Config{}, granular(us)))
	require.ErrorIs(t, verify(jwt.Config{}, granular(them)), jwt.ErrAudience)
	require.ErrorIs(t, verify(strict, func(*jwt.Claims) {}), jwt.ErrAudience)
	require.NoError(t, verify(strict, granular(us)))
	require.NoError(t, verify(strict, func(c *jwt.Claims) { c.Audience = jwt.Audience{us} }))
}

// raw signs claims as text, whatever they are.
func raw(t *testing.T, a account, claims string) string {
	t.Helper()
	input := encode(`{"alg":"ES256K","typ":"JWT"}`) + "." + encode(claims)
	sig, err := a.sign([]byte(input))
	require.NoError(t, err)
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func TestClaimsThatBreakTheSchemaAreRefused(t *testing.T) {
	a, now := newAccount(t), time.Now()
	v := verifier(t, jwt.Config{})
	envelope := func(leases string) string {
		b, err := json.Marshal(map[string]any{
			"iss": a.addr, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Unix() + 60,
			"version": "v1", "leases": json.RawMessage(leases),
		})
		require.NoError(t, err)
		return string(b)
	}
	at := func(body string) string {
		return envelope(`{"access":"granular","permissions":[{"provider":"` + string(us) + `",` + body + `}]}`)
	}
	on := func(body string) string { return at(`"access":"granular","deployments":[{` + body + `}]`) }
	good := []string{
		envelope(`{"access":"full"}`),
		envelope(`{"access":"scoped","scope":["logs","attestation"]}`),
		at(`"access":"full"`),
		at(`"access":"scoped","scope":["send-manifest"]`),
		on(`"dseq":1,"scope":["logs"],"services":["web"]`),
		on(`"dseq":1,"gseq":1,"oseq":1,"scope":["logs"],"services":["web","db"]`),
		strings.Replace(envelope(`{"access":"full"}`), `{`, `{"aud":"`+string(us)+`","jti":"1",`, 1),
	}
	for _, claims := range good {
		_, _, err := v.VerifyToken(t.Context(), raw(t, a, claims), now)
		require.NoError(t, err, claims)
	}
	bad := []string{
		``, `null`, `[]`, `{}`, `{"iss":"` + string(a.addr) + `"}`, envelope(`{"access":"full"}`) + `{}`,
		strings.Replace(good[0], `"v1"`, `"v2"`, 1), strings.Replace(good[0], `"iat"`, `"iatx"`, 1),
		strings.Replace(good[0], `"nbf":`, `"nbf":-`, 1), strings.Replace(good[0], `"exp":`, `"exp":"x","jti":`, 1),
		strings.Replace(good[0], `"exp":`, `"exp":1.5,"x":`, 1), strings.Replace(good[0], string(a.addr), "a b", 1),
		envelope(`{}`), envelope(`{"access":"unknown"}`), envelope(`{"access":"none"}`),
		envelope(`{"access":"full","scope":["logs"]}`), envelope(`{"access":"full","permissions":[]}`),
		envelope(`{"access":"full","extra":1}`),
		envelope(`{"access":"scoped"}`), envelope(`{"access":"scoped","scope":[]}`),
		envelope(`{"access":"scoped","scope":["logs","logs"]}`), envelope(`{"access":"scoped","scope":["public"]}`),
		envelope(`{"access":"scoped","scope":["any"]}`), envelope(`{"access":"scoped","scope":["logs"],"permissions":[]}`),
		envelope(`{"access":"granular"}`), envelope(`{"access":"granular","permissions":[]}`),
		envelope(`{"access":"granular","scope":["logs"],"permissions":[{"provider":"` + string(us) + `","access":"full"}]}`),
		envelope(`{"access":"granular","permissions":[{"provider":"` + string(us) + `","access":"full"},{"provider":"` + string(us) + `","access":"full"}]}`),
		envelope(`{"access":"granular","permissions":[{"provider":"","access":"full"}]}`),
		at(`"access":""`), at(`"access":"full","scope":["logs"]`), at(`"access":"scoped"`),
		at(`"access":"scoped","scope":["logs"],"deployments":[]`), at(`"access":"scoped","scope":["unknown"]`),
		at(`"access":"granular"`), at(`"access":"granular","deployments":[]`),
		at(`"access":"granular","scope":["logs"],"deployments":[{"dseq":1,"scope":["logs"],"services":["web"]}]`),
		on(`"scope":["logs"],"services":["web"]`), on(`"dseq":0,"scope":["logs"],"services":["web"]`),
		on(`"dseq":-1,"scope":["logs"],"services":["web"]`), on(`"dseq":1,"services":["web"]`),
		on(`"dseq":1,"scope":["logs"]`), on(`"dseq":1,"scope":["logs"],"services":[]`),
		on(`"dseq":1,"scope":["logs"],"services":[""]`), on(`"dseq":1,"scope":["logs"],"services":["web","web"]`),
		on(`"dseq":1,"scope":["logs","logs"],"services":["web"]`), on(`"dseq":1,"oseq":1,"scope":["logs"],"services":["web"]`),
	}
	for _, claims := range bad {
		_, _, err := v.VerifyToken(t.Context(), raw(t, a, claims), now)
		require.ErrorIs(t, err, jwt.ErrClaims, claims)
		require.ErrorIs(t, err, api.ErrUnauthenticated, claims)
	}
}

func TestGrantsByProviderDeploymentGroupAndService(t *testing.T) {
	web := jwt.Deployment{DSeq: 7, Scope: []api.Scope{api.ScopeLogs, api.ScopeShell}, Services: []string{"web"}}
	second := jwt.Deployment{DSeq: 8, GSeq: 2, OSeq: 1, Scope: []api.Scope{api.ScopeStatus}, Services: []string{"db"}}
	granular := jwt.Leases{Access: jwt.Granular, Permissions: []jwt.Permission{
		{Provider: us, Access: jwt.Granular, Deployments: []jwt.Deployment{web, second}},
		{Provider: them, Access: jwt.Scoped, Scope: []api.Scope{api.ScopeEvents}},
	}}
	cases := []struct {
		grants jwt.Leases
		access api.Access
		want   bool
	}{
		{jwt.Leases{}, api.Access{Scope: api.ScopeLogs, Provider: us}, false},
		{jwt.Leases{Access: jwt.Full}, api.Access{Scope: api.ScopeShell, Provider: us, DSeq: 1}, true},
		{jwt.Leases{Access: jwt.Scoped, Scope: []api.Scope{api.ScopeLogs}}, api.Access{Scope: api.ScopeLogs, Provider: us, DSeq: 9}, true},
		{jwt.Leases{Access: jwt.Scoped, Scope: []api.Scope{api.ScopeLogs}}, api.Access{Scope: api.ScopeShell, Provider: us, DSeq: 9}, false},
		{granular, api.Access{Scope: api.ScopeLogs, Provider: us, DSeq: 7, GSeq: 1, OSeq: 1, Service: "web"}, true},
		{granular, api.Access{Scope: api.ScopeLogs, Provider: us, DSeq: 7, GSeq: 1, OSeq: 1}, true},
		{granular, api.Access{Scope: api.ScopeLogs, Provider: us, DSeq: 7, Service: "db"}, false},
		{granular, api.Access{Scope: api.ScopeEvents, Provider: us, DSeq: 7, Service: "web"}, false},
		{granular, api.Access{Scope: api.ScopeLogs, Provider: us, DSeq: 70, Service: "web"}, false},
		{granular, api.Access{Scope: api.ScopeStatus, Provider: us, DSeq: 8, GSeq: 2, OSeq: 1, Service: "db"}, true},
		{granular, api.Access{Scope: api.ScopeStatus, Provider: us, DSeq: 8, GSeq: 1, OSeq: 1, Service: "db"}, false},
		{granular, api.Access{Scope: api.ScopeStatus, Provider: us, DSeq: 8, GSeq: 2, OSeq: 2, Service: "db"}, false},
		{granular, api.Access{Scope: api.ScopeEvents, Provider: them, DSeq: 7}, true},
		{granular, api.Access{Scope: api.ScopeLogs, Provider: them, DSeq: 7, Service: "web"}, false},
		{granular, api.Access{Scope: api.ScopeEvents, Provider: "nobody", DSeq: 7}, false},
	}
	for _, tc := range cases {
		assert.Equal(t, tc.want, tc.grants.Allows(tc.access), "%+v", tc.access)
	}
}

func TestVerifierChecksItsConfiguration(t *testing.T) {
	_, err := jwt.NewVerifier(jwt.Config{MaxLifetime: -1})
	require.ErrorIs(t, err, market.ErrInvalid)
	assert.ErrorContains(t, err, "provider")
	assert.ErrorContains(t, err, "lifetime")
}

func FuzzVerifyNeverAcceptsWhatIsNotSigned(f *testing.F) {
	a, now := newAccount(f), time.Now()
	token, err := jwt.Sign(full(a, now), jwt.ES256K, a.sign)
	require.NoError(f, err)
	f.Add(token[:len(token)-1])
	f.Add("a.b.c")
	f.Add(encode(`{"alg":"ES256K"}`) + "." + strings.Split(token, ".")[1] + "." + encode(strings.Repeat("a", 64)))
	v := verifier(f, jwt.Config{})
	f.Fuzz(func(t *testing.T, text string) {
		if text == token {
			return
		}
		_, _, err := v.VerifyToken(t.Context(), text, now)
		require.ErrorIs(t, err, api.ErrUnauthenticated)
	})
}

func BenchmarkVerifyToken(b *testing.B) {
	a, now := newAccount(b), time.Now()
	token, err := jwt.Sign(full(a, now), jwt.ES256K, a.sign)
	require.NoError(b, err)
	v := verifier(b, jwt.Config{})
	b.ReportAllocs()
	for b.Loop() {
		_, _, err := v.VerifyToken(b.Context(), token, now)
		require.NoError(b, err)
	}
}
