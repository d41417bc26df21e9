package jwt_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/jwt"
)

func Example() {
	key := secp256k1.PrivKeyFromBytes([]byte("a key that everybody knows......"))
	tenant, _ := jwt.Address("akash", key.PubKey().SerializeCompressed())
	sign := func(message []byte) ([]byte, error) {
		digest := sha256.Sum256(message)
		return ecdsa.SignCompact(key, digest[:], true)[1:], nil // without the recovery code
	}

	// The tenant lets somebody read logs of one service for a quarter of an hour.
	now := time.Now()
	claims := jwt.Lasting(tenant, now, 15*time.Minute)
	claims.Leases = jwt.Leases{Access: jwt.Granular, Permissions: []jwt.Permission{{
		Provider: "akash1provider", Access: jwt.Granular,
		Deployments: []jwt.Deployment{{DSeq: 7, Scope: []api.Scope{api.ScopeLogs}, Services: []string{"web"}}},
	}}}
	token, err := jwt.Sign(claims, jwt.ES256K, sign)
	if err != nil {
		fmt.Println(err)
		return
	}

	// The provider finds out whose it is, from the token alone.
	verifier, _ := jwt.NewVerifier(jwt.Config{Provider: "akash1provider"})
	who, grants, err := verifier.VerifyToken(context.Background(), token, now)
	fmt.Println(who == tenant, err)
	want := api.Access{Scope: api.ScopeLogs, Provider: "akash1provider", DSeq: 7, Service: "web"}
	fmt.Println(grants.Allows(want))
	want.Service = "db"
	fmt.Println(grants.Allows(want))
	// Output:
	// true <nil>
	// true
	// false
}
