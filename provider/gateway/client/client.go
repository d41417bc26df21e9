package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/gateway/mtls"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// Bounds of a client.
const (
	// DialTimeout bounds the making of one connection.
	DialTimeout = 10 * time.Second
	// AnswerTimeout bounds the wait for an answer to begin.
	AnswerTimeout = 60 * time.Second
	// MaxAnswer bounds the bytes of an answer that is no stream.
	MaxAnswer = 40 << 20
	// dialAttempts is how often a connection is tried, dialPause the wait after the
	// first time; it doubles.
	dialAttempts = 4
	dialPause    = 100 * time.Millisecond
)

// Config sets up a [Client].
type Config struct {
	// Provider is the account whose gateway it is. Required.
	Provider market.Address
	// HostURI is where the gateway is, as in [market.Provider.HostURI]: https, a
	// host, no path. Required.
	HostURI string
	// Market is asked for the provider's certificate; a [market.RegistryReader] is
	// one. Required.
	Market mtls.Registry
	// Certificate is the tenant's. Without it, and without Token, only the public
	// routes answer.
	Certificate tls.Certificate
	// Token returns a bearer token to show instead of a certificate; it is called
	// for each request. Only one of the two may be set.
	Token func(ctx context.Context) (string, error)
}

// Client speaks to one gateway. It is safe for concurrent use.
type Client struct {
	cfg    Config
	base   *url.URL
	tenant market.Address // "" with a token
	http   *http.Client
}

var (
	_ driver.LogStreamer = (*Client)(nil)
	_ driver.Execer      = (*Client)(nil)
)

// New returns a client. It opens no connection yet. The error lists every fault
// and wraps [market.ErrInvalid].
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg}
	var faults *multierror.Error
	if err := cfg.Provider.Validate(); err != nil {
		faults = multierror.Append(faults, fmt.Errorf("gateway client: provider: %w", err))
	}
	var err error
	if c.base, err = parseHost(cfg.HostURI); err != nil {
		faults = multierror.Append(faults, err)
	}
	if c.tenant, err = tenantOf(cfg); err != nil {
		faults = multierror.Append(faults, err)
	}
	verifier, err := mtls.NewVerifier(cfg.Market, mtls.Config{})
	if err != nil {
		faults = multierror.Append(faults, err)
	}
	if err := faults.ErrorOrNil(); err != nil {
		return nil, err
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: DialTimeout}).DialContext,
			TLSClientConfig:       verifier.ClientConfig(cfg.Provider, cfg.Certificate),
			TLSHandshakeTimeout:   DialTimeout,
			ResponseHeaderTimeout: AnswerTimeout,
			IdleConnTimeout:       30 * time.Second,
			MaxIdleConnsPerHost:   4,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func parseHost(uri string) (*url.URL, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return nil, fmt.Errorf("gateway client: host %.100q: %w: want https, a host and no path", uri, market.ErrInvalid)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func tenantOf(cfg Config) (market.Address, error) {
	has := len(cfg.Certificate.Certificate) > 0
	switch {
	case has && cfg.Token != nil:
		return "", fmt.Errorf("gateway client: credential: %w: want a certificate or a token, not both", market.ErrInvalid)
	case !has:
		return "", nil
	}
	leaf, err := x509.ParseCertificate(cfg.Certificate.Certificate[0])
	if err != nil {
		return "", fmt.Errorf("gateway client: certificate: %w: %w", market.ErrInvalid, err)
	}
	id, err := mtls.ID(leaf)
	return id.Owner, err
}

// Close closes the connections that are idle. Streams that are open go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Version asks what the gateway is. It needs no credential.
func (c *Client) Version(ctx context.Context) (api.Version, error) {
	return get[api.Version](ctx, c, "/version")
}

// Status asks what anybody may know of the provider. It needs no credential.
func (c *Client) Status(ctx context.Context) (api.ProviderStatus, error) {
	return get[api.ProviderStatus](ctx, c, "/status")
}

// PutManifest sends the manifest of a deployment. It returns once the provider
// has accepted it. Errors: [market.ErrNotFound] when the provider has no lease of
// the deployment, [market.ErrMismatch] and [market.ErrInvalid] with details when
// the manifest is not the one on the market.
func (c *Client) PutManifest(ctx context.Context, id market.DeploymentID, m manifest.Manifest) error {
	if err := c.mine(id.Owner); err != nil {
		return err
	}
	body, err := m.MarshalJSON()
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPut, fmt.Sprintf("/deployment/%d/manifest", id.DSeq), body, nil)
}

// Manifest asks for the manifest that the provider has accepted. Registry
// passwords are not in it, so its hash differs where there are any.
func (c *Client) Manifest(ctx context.Context, id market.DeploymentID) (manifest.Manifest, error) {
	if err := c.mine(id.Owner); err != nil {
		return nil, err
	}
	return get[manifest.Manifest](ctx, c, fmt.Sprintf("/deployment/%d/manifest", id.DSeq))
}

// LeaseStatus asks where a lease stands.
func (c *Client) LeaseStatus(ctx context.Context, id market.LeaseID) (api.LeaseStatus, error) {
	if err := c.lease(id); err != nil {
		return api.LeaseStatus{}, err
	}
	return get[api.LeaseStatus](ctx, c, leasePath(id)+"/status")
}

// ServiceStatus asks where one service of a lease stands.
func (c *Client) ServiceStatus(ctx context.Context, id market.LeaseID, service string) (api.ServiceStatus, error) {
	if err := c.lease(id); err != nil {
		return api.ServiceStatus{}, err
	}
	return get[api.ServiceStatus](ctx, c, leasePath(id)+"/service/"+url.PathEscape(service)+"/status")
}

// Screen asks what the provider would bid on groups, one offer per group in the
// same order.
func (c *Client) Screen(ctx context.Context, groups []market.GroupSpec) ([]api.Offer, error) {
	body, err := json.Marshal(api.Screening{Groups: groups})
	if err != nil {
		return nil, fmt.Errorf("gateway client: encode groups: %w", err)
	}
	var out api.ScreeningResult
	err = c.call(ctx, http.MethodPost, "/screening", body, &out)
	return out.Offers, err
}

// Restart has every replica of a service replaced by a new one.
func (c *Client) Restart(ctx context.Context, id market.LeaseID, service string) error {
	if err := c.lease(id); err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, leasePath(id)+"/service/"+url.PathEscape(service)+"/restart", nil, nil)
}

// MigrateHostnames moves host names to a lease from others of the same tenant.
// The results are in the order of the names.
func (c *Client) MigrateHostnames(ctx context.Context, to market.LeaseID, names []string) ([]api.HostnameMoved, error) {
	if err := c.lease(to); err != nil {
		return nil, err
	}
	body, err := json.Marshal(api.HostnameMigration{Hostnames: names})
	if err != nil {
		return nil, err
	}
	var out api.HostnameMigrationResult
	err = c.call(ctx, http.MethodPost, leasePath(to)+"/hostnames", body, &out)
	return out.Results, err
}

// MigrateEndpoints moves the addresses of endpoints to a lease from others of the
// same tenant. The results are in the order of the names.
func (c *Client) MigrateEndpoints(ctx context.Context, to market.LeaseID, names []string) ([]api.EndpointMoved, error) {
	if err := c.lease(to); err != nil {
		return nil, err
	}
	body, err := json.Marshal(api.EndpointMigration{Endpoints: names})
	if err != nil {
		return nil, err
	}
	var out api.EndpointMigrationResult
	err = c.call(ctx, http.MethodPost, leasePath(to)+"/endpoints", body, &out)
	return out.Results, err
}

// HeldIPs returns the leased addresses that the tenant has at the provider, and
// what keeping one costs.
func (c *Client) HeldIPs(ctx context.Context) (api.HeldIPs, error) {
	var out api.HeldIPs
	err := c.call(ctx, http.MethodGet, "/ips", nil, &out)
	return out, err
}

// ParkIP has the provider keep an address for which a retainer is open.
func (c *Client) ParkIP(ctx context.Context, endpoint string) (api.HeldIP, error) {
	var out api.HeldIP
	err := c.call(ctx, http.MethodPost, ipPath(endpoint)+"/park", nil, &out)
	return out, err
}

// ReleaseIP ends the keeping of an address, and the retainer.
func (c *Client) ReleaseIP(ctx context.Context, endpoint string) (api.HeldIP, error) {
	var out api.HeldIP
	err := c.call(ctx, http.MethodPost, ipPath(endpoint)+"/release", nil, &out)
	return out, err
}

// LimitSources says who may reach a port of an address.
func (c *Client) LimitSources(ctx context.Context, endpoint string, limit api.SourceLimit) error {
	body, err := json.Marshal(limit)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPut, ipPath(endpoint)+"/sources", body, nil)
}

func ipPath(endpoint string) string { return "/ips/" + url.PathEscape(endpoint) }

func leasePath(id market.LeaseID) string {
	return fmt.Sprintf("/lease/%d/%d/%d", id.DSeq, id.GSeq, id.OSeq)
}

// mine refuses IDs of another tenant: their paths would mean one's own.
func (c *Client) mine(owner market.Address) error {
	if c.tenant != "" && owner != c.tenant {
		return fmt.Errorf("gateway client: %w: the credential is of %s, not of %s", market.ErrInvalid, c.tenant, owner)
	}
	return nil
}

func (c *Client) lease(id market.LeaseID) error {
	if id.Provider != c.cfg.Provider {
		return fmt.Errorf("gateway client: lease %s: %w: this is the gateway of %s", id, market.ErrInvalid, c.cfg.Provider)
	}
	return c.mine(id.Owner)
}

func get[T any](ctx context.Context, c *Client, path string) (out T, err error) {
	err = c.call(ctx, http.MethodGet, path, nil, &out)
	return out, err
}

// call sends a request and reads the answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, body []byte, out any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return fmt.Errorf("gateway client: %s %s: %w", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("gateway client: %s %s: read answer: %w: %w", method, path, market.ErrUnavailable, err)
	case len(answer) > MaxAnswer:
		return fmt.Errorf("gateway client: %s %s: answer: %w", method, path, api.ErrTooLarge)
	case resp.StatusCode/100 != 2:
		return refusal(resp.StatusCode, answer)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("gateway client: %s %s: answer cannot be read: %w", method, path, err)
	}
	return nil
}

// send tries to connect a few times. Once a connection is there the request goes
// over it, and what becomes of it is not tried again.
func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	return attempt(ctx, func() (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.GetBody = nil // the transport must not repeat it either
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		if err := c.authorize(ctx, req.Header); err != nil {
			return nil, err
		}
		return c.http.Do(req)
	})
}

// attempt calls connect until it works, fails for another reason than that there
// is no connection, or has been tried [dialAttempts] times.
func attempt[T any](ctx context.Context, connect func() (T, error)) (T, error) {
	pause := dialPause
	for n := 1; ; n++ {
		v, err := connect()
		if err == nil {
			return v, nil
		}
		if !isDial(err) || ctx.Err() != nil {
			return v, unavailable(err)
		}
		if n == dialAttempts {
			return v, unavailable(err)
		}
		if err := sleep(ctx, pause); err != nil {
			return v, err
		}
		pause *= 2
	}
}

func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// unavailable marks what went wrong on the way as [market.ErrUnavailable].
// Refusals, and servers that are not the provider, are no such thing.
func unavailable(err error) error {
	if _, ok := errors.AsType[*api.Error](err); ok || errors.Is(err, mtls.ErrRejected) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", market.ErrUnavailable, err)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Client) authorize(ctx context.Context, h http.Header) error {
	if c.cfg.Token == nil {
		return nil
	}
	token, err := c.cfg.Token(ctx)
	if err != nil {
		return fmt.Errorf("gateway client: token: %w", err)
	}
	h.Set("Authorization", "Bearer "+token)
	return nil
}

// refusal reads an error body. A server that does not send one is still refused
// by its status.
func refusal(status int, body []byte) error {
	var doc api.Body
	if json.Unmarshal(body, &doc) != nil || doc.Error == nil || doc.Error.Code == "" {
		doc.Error = &api.Error{Code: api.CodeInternal, Message: fmt.Sprintf("the gateway answered %d without saying why", status)}
	}
	doc.Error.Status = status
	return doc.Error
}
