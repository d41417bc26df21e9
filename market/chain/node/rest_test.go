package node_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	gogoproto "github.com/cosmos/gogoproto/proto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/chain/client"
	"github.com/moorage-dev/moorage/market/chain/node"
)

// rest asks a node over HTTP.
type rest struct {
	t    *testing.T
	base string
}

// ask returns the status and the answer.
func (r rest) ask(path string) (int, map[string]json.RawMessage) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.base+path, nil)
	require.NoError(r.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	var body map[string]json.RawMessage
	require.NoError(r.t, json.Unmarshal(raw, &body), "%s: %s", path, raw)
	return res.StatusCode, body
}

// list returns what a list query gives, and the key of the next page.
func (r rest) list(name, query string) (rows []json.RawMessage, next string) {
	r.t.Helper()
	path := "/moorage/market/v1/" + name + "?" + query
	status, body := r.ask(path)
	require.Equal(r.t, http.StatusOK, status, "%s: %s", path, body["message"])
	require.NoError(r.t, json.Unmarshal(body[name], &rows))
	var page struct {
		Next string `json:"next_key"`
	}
	require.NoError(r.t, json.Unmarshal(body["pagination"], &page))
	return rows, page.Next
}

// routes returns the REST route of every query of the market, by name.
func routes(t *testing.T) map[string]string {
	t.Helper()
	found, err := gogoproto.HybridResolver.FindDescriptorByName("moorage.market.v1.Query")
	require.NoError(t, err)
	methods := found.(protoreflect.ServiceDescriptor).Methods()
	out := make(map[string]string)
	for i := range methods.Len() {
		raw, err := proto.Marshal(methods.Get(i).Options())
		require.NoError(t, err)
		options := new(descriptorpb.MethodOptions)
		require.NoError(t, proto.Unmarshal(raw, options)) // reads the extension
		rule, _ := proto.GetExtension(options, annotations.E_Http).(*annotations.HttpRule)
		require.NotEmpty(t, rule.GetGet(), "%s has no route", methods.Get(i).Name())
		out[string(methods.Get(i).Name())] = rule.GetGet()
	}
	return out
}

// certificate makes one that the market takes.
func certificate(t *testing.T, owner market.Address) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: string(owner)}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: string(owner)}, SerialNumber: big.NewInt(77)}, key.Public(), key)
	require.NoError(t, err)
	return der
}

// populate puts some of everything on the market: deployments 1, 12 and 123 of
// the tenant with a bid each, a lease of 12, and deployment 1 closed.
func populate(t *testing.T, tenant, provider *client.Client) {
	t.Helper()
	submit := func(c *client.Client, msgs ...market.Msg) {
		_, err := c.Submit(t.Context(), msgs...)
		require.NoError(t, err)
	}
	submit(provider, market.CreateProvider{Provider: market.Provider{Owner: provider.Address(), HostURI: "https://p.example"}})
	submit(tenant, market.CreateProvider{Provider: market.Provider{Owner: tenant.Address(), HostURI: "https://t.example"}})
	for _, dseq := range []uint64{1, 12, 123} {
		m := deployment(tenant, dseq)
		submit(tenant, m)
		submit(provider, market.CreateBid{
			ID:    market.BidID{OrderID: market.OrderID{GroupID: market.GroupID{DeploymentID: m.ID, GSeq: 1}, OSeq: 1}, Provider: provider.Address()},
			Price: m.Groups[0].Units[0].Price, Deposit: market.NewCoin("uakt", 500_000),
		})
	}
	submit(tenant, market.CreateLease{ID: bidOn(tenant, provider, 12)})
	submit(tenant, market.CloseDeployment{ID: deployment(tenant, 1).ID})
	submit(tenant, market.CreateCertificate{Owner: tenant.Address(), DER: certificate(t, tenant.Address())})
	submit(tenant, market.SignAudit{Audit: market.Audit{
		ID:         market.AuditID{Provider: provider.Address(), Auditor: tenant.Address()},
		Attributes: market.Attributes{{Key: "region", Value: "north"}},
	}})
	price, err := market.ParseDecimal("0.5")
	require.NoError(t, err)
	submit(tenant, market.OpenRetainer{
		ID:    market.RetainerID{Owner: tenant.Address(), Provider: provider.Address(), Kind: "address", Name: "www"},
		Price: market.Price{Denom: "uakt", AmountPerBlock: price}, Deposit: market.NewCoin("uakt", 500_000),
	})
}

func bidOn(tenant, provider *client.Client, dseq uint64) market.BidID {
	return market.BidID{
		OrderID:  market.OrderID{GroupID: market.GroupID{DeploymentID: deployment(tenant, dseq).ID, GSeq: 1}, OSeq: 1},
		Provider: provider.Address(),
	}
}

func TestEveryQueryIsServedOverREST(t *testing.T) {
	n, _ := start(t, node.Config{Genesis: genesis("rest-1"), RESTAddress: "127.0.0.1:0"})
	tenant, provider := dial(t, n, account("tenant")), dial(t, n, account("provider"))
	populate(t, tenant, provider)
	r := rest{t, "http://" + n.Addresses().REST}
	owner, seller := string(tenant.Address()), string(provider.Address())
	part := map[string]string{
		"{address}": owner, "{owner}": owner, "{dseq}": "12", "{gseq}": "1", "{oseq}": "1", "{provider}": seller,
		"{serial}": "77", "{kind}": "address", "{name}": "www",
	}
	all := routes(t)
	require.GreaterOrEqual(t, len(all), 20)
	for name, route := range all {
		path := regexp.MustCompile(`\{\w+\}`).ReplaceAllStringFunc(route, func(s string) string { return part[s] })
		status, body := r.ask(path)
		assert.Equal(t, http.StatusOK, status, "%s %s: %s", name, path, body["message"])
		for field, value := range body {
			assert.NotContains(t, []string{"[]", "null", "{}"}, string(value), "%s: %s says nothing", name, field)
		}
		if strings.Contains(route, "{dseq}") && name != "Groups" {
			status, _ = r.ask(strings.Replace(path, "/12", "/999", 1))
			assert.Equal(t, http.StatusNotFound, status, name)
		}
	}

	t.Run("every part of an ID and every state filters", func(t *testing.T) { checkFilters(t, r, owner, seller) })
	t.Run("pages are bounded and go on", func(t *testing.T) { checkPages(t, r) })
}

func checkFilters(t *testing.T, r rest, owner, seller string) {
	t.Helper()
	mine := "owner=" + owner
	for _, c := range []struct {
		list, query string
		rows        int
	}{
		{"deployments", "", 3},
		{"deployments", mine, 3}, {"deployments", "owner=" + seller, 0},
		{"deployments", "state=1", 2}, {"deployments", mine + "&state=2", 1}, {"deployments", "owner=" + seller + "&state=1", 0},
		{"orders", mine, 3}, {"orders", mine + "&dseq=1", 1}, {"orders", mine + "&dseq=12&gseq=1", 1}, {"orders", mine + "&dseq=12&gseq=2", 0},
		{"orders", "state=1", 1}, {"orders", "state=2", 1}, {"orders", mine + "&state=3", 1}, {"orders", mine + "&dseq=123&state=1", 1},
		{"bids", mine, 3}, {"bids", mine + "&dseq=12", 1}, {"bids", mine + "&dseq=12&gseq=1&oseq=1", 1}, {"bids", mine + "&dseq=12&gseq=1&oseq=2", 0},
		{"bids", "provider=" + seller, 3}, {"bids", "provider=" + owner, 0}, {"bids", "provider=" + seller + "&state=1", 1}, {"bids", "state=2", 1},
		{"leases", "", 1}, {"leases", mine + "&dseq=12", 1}, {"leases", mine + "&dseq=1", 0}, {"leases", "provider=" + seller + "&state=1", 1},
		{"leases", "provider=" + seller + "&state=2", 0}, {"leases", mine + "&dseq=12&gseq=1&oseq=1&provider=" + owner, 0},
		{"retainers", "", 1}, {"retainers", mine, 1}, {"retainers", "provider=" + seller, 1}, {"retainers", "provider=" + owner, 0},
		{"retainers", mine + "&kind=address&state=1", 1}, {"retainers", mine + "&kind=other", 0}, {"retainers", mine + "&state=2", 0},
		{"providers", "", 2},
	} {
		rows, next := r.list(c.list, c.query)
		assert.Len(t, rows, c.rows, "%s?%s", c.list, c.query)
		assert.Empty(t, next)
	}
}

func checkPages(t *testing.T, r rest) {
	t.Helper()
	for _, list := range []string{"deployments", "orders", "bids", "providers"} {
		whole, _ := r.list(list, "")
		var parts []json.RawMessage
		key := ""
		for {
			rows, next := r.list(list, "pagination.limit=1&pagination.key="+url.QueryEscape(key))
			require.LessOrEqual(t, len(rows), 1)
			parts = append(parts, rows...)
			if key = next; key == "" {
				break
			}
			require.LessOrEqual(t, len(parts), len(whole), "pages that do not end")
		}
		assert.Equal(t, whole, parts, list)
		for _, bad := range []string{"pagination.limit=1001", "pagination.offset=1", "pagination.reverse=true", "pagination.count_total=true"} {
			status, _ := r.ask("/moorage/market/v1/" + list + "?" + bad)
			assert.Equal(t, http.StatusBadRequest, status, "%s?%s", list, bad)
		}
	}
}
