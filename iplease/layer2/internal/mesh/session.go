package mesh

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"
	"time"
)

// identity is the configuration of both sides: everybody who has the key has the
// same certificate, and takes no other.
func identity(key []byte) (*tls.Config, error) {
	seed, err := hkdf.Key(sha256.New, key, nil, "moorage layer2 mesh 1", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	private := ed25519.NewKeyFromSeed(seed)
	public := private.Public().(ed25519.PublicKey)
	// The certificate only carries the key: dates and names mean nothing here.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		return nil, fmt.Errorf("mesh: %w", err)
	}
	check := func(cs tls.ConnectionState) error {
		shown, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
		if !ok || !shown.Equal(public) {
			return errors.New("the host has another key")
		}
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		ClientAuth: tls.RequireAnyClientCert, VerifyConnection: check,
		InsecureSkipVerify:     true, // VerifyConnection compares the key itself
		SessionTicketsDisabled: true,
	}, nil
}

// hello is the first frame of each side.
type hello struct{ Node, Instance string }

// kinds of frames. Do not renumber.
const (
	kindHello  = 1
	kindPing   = 2
	kindAsk    = 3
	kindAnswer = 4
	kindFailed = 5
)

const (
	frameHeader = 4 + 1 + 8 // length of the body, kind, number
	// maxBody bounds one frame: all claims of a host that begins.
	maxBody = 64 << 20
	// maxServing bounds questions of one session that are being answered.
	maxServing = 64
	// pings are sent in each timeout, so that one or two may be late.
	pings = 5
)

// session is one connection to a host that has shown the key.
type session struct {
	node, instance string
	mesh           *Mesh
	conn           *tls.Conn
	r              *bufio.Reader

	writing sync.Mutex

	mu      sync.Mutex // guards all below
	next    uint64
	waiting map[uint64]chan result
	ended   bool
}

type result struct {
	body []byte
	err  error
}

// meet makes a session of a connection, whoever dialled.
func (m *Mesh) meet(ctx context.Context, conn *tls.Conn) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	s := &session{mesh: m, conn: conn, r: bufio.NewReader(conn), waiting: map[uint64]chan result{}}
	body, err := json.Marshal(hello{m.cfg.Node, m.instance})
	if err != nil {
		return nil, err
	}
	if err := s.write(kindHello, 0, body); err != nil {
		return nil, err
	}
	kind, _, body, err := s.read()
	if err != nil {
		return nil, err
	}
	var h hello
	if err := json.Unmarshal(body, &h); err != nil || kind != kindHello || h.Node == "" {
		return nil, errors.New("mesh: no greeting")
	}
	if h.Node == m.cfg.Node {
		if h.Instance == m.instance {
			return nil, errSelf
		}
		m.cfg.Logger.Warn("another host has this host's name", "node", h.Node, "at", conn.RemoteAddr())
		return nil, fmt.Errorf("mesh: two hosts are called %q", h.Node)
	}
	s.node, s.instance = h.Node, h.Instance
	return s, nil
}

func (s *session) write(kind byte, number uint64, body []byte) error {
	if len(body) > maxBody {
		return fmt.Errorf("mesh: a frame of %d bytes", len(body))
	}
	b := make([]byte, frameHeader, frameHeader+len(body))
	binary.BigEndian.PutUint32(b, uint32(len(body)))
	b[4] = kind
	binary.BigEndian.PutUint64(b[5:], number)
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.mesh.cfg.Timeout))
	_, err := s.conn.Write(append(b, body...))
	return err
}

// read waits for a frame; a timeout of silence is an error.
func (s *session) read() (kind byte, number uint64, body []byte, err error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(s.mesh.cfg.Timeout))
	var head [frameHeader]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return 0, 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxBody {
		return 0, 0, nil, fmt.Errorf("mesh: a frame of %d bytes", n)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(s.r, body)
	return head[4], binary.BigEndian.Uint64(head[5:]), body, err
}

// run reads the session until it ends, and returns why.
func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.conn.NetConn().Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.ping(ctx) })
	defer cancel()
	defer s.end()
	serving := make(chan struct{}, maxServing)
	for {
		kind, number, body, err := s.read()
		if err != nil {
			return err
		}
		switch kind {
		case kindAnswer:
			s.deliver(number, result{body: body})
		case kindFailed:
			s.deliver(number, result{err: fmt.Errorf("%w: %s: %s", ErrFailed, s.node, body)})
		case kindAsk:
			select {
			case serving <- struct{}{}:
				wg.Go(func() {
					s.serve(ctx, number, body)
					<-serving
				})
			default:
				if err := s.write(kindFailed, number, []byte("too many questions")); err != nil {
					return err
				}
			}
		}
	}
}

func (s *session) ping(ctx context.Context) {
	tick := time.NewTicker(s.mesh.cfg.Timeout / pings)
	defer tick.Stop()
	for {
		if err := s.write(kindPing, 0, nil); err != nil {
			_ = s.conn.NetConn().Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *session) serve(ctx context.Context, number uint64, body []byte) {
	kind := byte(kindAnswer)
	answer, err := s.mesh.cfg.Serve(ctx, s.node, body)
	if err != nil {
		kind, answer = kindFailed, []byte(err.Error())
	}
	_ = s.write(kind, number, answer) // a session that ended tells its reader
}

func (s *session) deliver(number uint64, r result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.waiting[number]; c != nil {
		delete(s.waiting, number)
		c <- r
	}
}

// end tells all who wait that no answer comes.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for number, c := range s.waiting {
		delete(s.waiting, number)
		c <- result{err: fmt.Errorf("%w: %s", ErrGone, s.node)}
	}
}

func (s *session) ask(ctx context.Context, body []byte) ([]byte, error) {
	c := make(chan result, 1)
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w: %s", ErrGone, s.node)
	}
	s.next++
	number := s.next
	s.waiting[number] = c
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, number)
		s.mu.Unlock()
	}()
	if err := s.write(kindAsk, number, body); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrGone, s.node, err)
	}
	select {
	case r := <-c:
		return r.body, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
