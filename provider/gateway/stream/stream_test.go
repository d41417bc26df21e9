package stream_test

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/moorage-dev/moorage/provider/gateway/stream"
)

// pipeConn is one end of a connection in memory that can break.
type pipeConn struct {
	in, out chan []byte
	broken  chan struct{}
	cut     func()
}

func pipe(buffer int) (a, b *pipeConn) {
	x, y := make(chan []byte, buffer), make(chan []byte, buffer)
	broken := make(chan struct{})
	cut := sync.OnceFunc(func() { close(broken) })
	return &pipeConn{x, y, broken, cut}, &pipeConn{y, x, broken, cut}
}

var errCut = errors.New("cut")

func (c *pipeConn) Read(ctx context.Context) (websocket.MessageType, []byte, error) {
	select {
	case <-c.broken:
		return 0, nil, errCut // what is under way is lost
	default:
	}
	select {
	case p := <-c.in:
		return websocket.MessageBinary, p, nil
	case <-c.broken:
		return 0, nil, errCut
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
}

func (c *pipeConn) Write(ctx context.Context, _ websocket.MessageType, p []byte) error {
	select {
	case c.out <- append([]byte(nil), p...):
		return nil
	case <-c.broken:
		return errCut
	case <-ctx.Done():
		c.cut()
		return ctx.Err()
	}
}

func (c *pipeConn) Ping(ctx context.Context) error {
	select {
	case <-c.broken:
		return errCut
	default:
		return ctx.Err()
	}
}

// connect runs a connection between two ends until it ends, as the gateway and
// its client do.
func connect(ctx context.Context, t require.TestingT, server, client *stream.Stream, breaker func(ended <-chan struct{}, cut func())) (serverErr, clientErr error) {
	sc, cc := pipe(4)
	return connectOver(ctx, t, server, client, sc, cc, breaker)
}

// connectOver is connect over a pipe that is there.
func connectOver(ctx context.Context, t require.TestingT, server, client *stream.Stream, sc, cc *pipeConn, breaker func(ended <-chan struct{}, cut func())) (serverErr, clientErr error) {
	sa, err := server.Attach(ctx)
	require.NoError(t, err)
	ca, err := client.Attach(ctx)
	require.NoError(t, err)
	var wg, breaking sync.WaitGroup
	ended := make(chan struct{})
	if breaker != nil {
		breaking.Go(func() { breaker(ended, sc.cut) })
	}
	wg.Go(func() { serverErr = sa.Run(ctx, sc, ca.Received); sc.cut() })
	wg.Go(func() { clientErr = ca.Run(ctx, cc, sa.Received); cc.cut() })
	wg.Wait()
	close(ended)
	breaking.Wait()
	return serverErr, clientErr
}

func number(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

// consume receives numbered frames until the end and checks that none is missing
// or there twice.
func consume(ctx context.Context, t require.TestingT, s *stream.Stream, each func(n int)) int {
	n := 0
	for {
		f, err := s.Recv(ctx)
		if errors.Is(err, stream.ErrEnded) {
			return n
		}
		require.NoError(t, err)
		if f.Final() {
			continue
		}
		require.Equal(t, uint32(n), binary.BigEndian.Uint32(f.Payload))
		each(n)
		n++
	}
}

func TestFramesArriveOnceAndInOrderHoweverOftenTheConnectionBreaks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		down := rapid.IntRange(0, 300).Draw(rt, "frames to the client")
		up := rapid.IntRange(0, 100).Draw(rt, "frames to the server")
		size := rapid.IntRange(4, 4000).Draw(rt, "size")
		cuts := rapid.SliceOfN(rapid.IntRange(0, 400), 0, 8).Draw(rt, "cuts")

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		server, client := stream.New(stream.Server), stream.New(stream.Client)
		moves := make(chan struct{}, 1024)
		moved := func(int) { moves <- struct{}{} }
		var wg sync.WaitGroup
		var gotDown, gotUp int
		wg.Go(func() {
			for i := range down {
				require.NoError(rt, server.Send(ctx, stream.Stdout, append(number(i), make([]byte, size-4)...)))
			}
			// The server ends the stream only after it has all input.
			for gotUp < up {
				f, err := server.Recv(ctx)
				require.NoError(rt, err)
				require.Equal(rt, uint32(gotUp), binary.BigEndian.Uint32(f.Payload))
				moved(gotUp)
				gotUp++
			}
			server.Finish(stream.Result, []byte(`{"exit_code":0}`))
		})
		wg.Go(func() {
			for i := range up {
				require.NoError(rt, client.Send(ctx, stream.Stdin, append(number(i), make([]byte, size-4)...)))
			}
		})
		wg.Go(func() { gotDown = consume(ctx, rt, client, moved) })

		for {
			_, clientErr := connect(ctx, rt, server, client, func(ended <-chan struct{}, cut func()) {
				after := -1 // not any more
				if len(cuts) > 0 {
					after, cuts = cuts[0], cuts[1:]
				}
				for ; after != 0; after-- {
					select {
					case <-moves:
					case <-ended:
						return
					}
				}
				cut()
			})
			if clientErr == nil {
				break
			}
			require.ErrorIs(rt, clientErr, errCut)
			require.NoError(rt, ctx.Err())
		}
		wg.Wait()
		require.Equal(rt, down, gotDown)
		require.Equal(rt, up, gotUp)
		require.True(rt, client.Complete())
	})
}

func TestSenderWaitsWhenNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := stream.New(stream.Server), stream.New(stream.Client)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = connect(ctx, t, server, client, nil) })
		sent := 0
		wg.Go(func() {
			for server.Send(ctx, stream.Stdout, make([]byte, stream.MaxPayload)) == nil {
				sent += stream.MaxPayload
			}
		})
		synctest.Wait()
		assert.LessOrEqual(t, sent, stream.Window)
		assert.Greater(t, sent, stream.Window/2)
		for range 4 {
			_, err := client.Recv(ctx)
			require.NoError(t, err)
		}
		synctest.Wait()
		assert.Greater(t, sent, stream.Window, "reading makes room")

		server.Finish(stream.Failure, nil) // there is always room for the end
		cancel()
		wg.Wait()
	})
}

func TestNewConnectionTakesTheStreamOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := stream.New(stream.Server)
		first, _ := pipe(1)
		a, err := server.Attach(t.Context())
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- a.Run(t.Context(), first, 0) }()
		synctest.Wait()
		b, err := server.Attach(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, <-ended, stream.ErrTakenOver)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = server.Attach(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "one that has not begun to run cannot be taken over")
		b.Release()
	})
}

func TestPeersThatBreakTheRulesAreLeft(t *testing.T) {
	ack := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{121}, n) }
	cases := map[string]struct {
		role stream.Role
		msgs [][]byte
	}{
		"empty message":          {stream.Server, [][]byte{{}}},
		"unknown code":           {stream.Server, [][]byte{{1}}},
		"output to the server":   {stream.Server, [][]byte{{100, 'x'}}},
		"result to the server":   {stream.Server, [][]byte{{102}}},
		"input to the client":    {stream.Client, [][]byte{{104}}},
		"bye to the client":      {stream.Client, [][]byte{{122}}},
		"second hello":           {stream.Client, [][]byte{append([]byte{120}, "{}"...)}},
		"short ack":              {stream.Server, [][]byte{{121, 0}}},
		"ack of what never was":  {stream.Server, [][]byte{ack(1)}},
		"data after the end":     {stream.Client, [][]byte{{102}, {100}}},
		"more than the window":   {stream.Server, repeat(append([]byte{104}, make([]byte, stream.MaxPayload)...), 10)},
		"many empty data frames": {stream.Server, repeat([]byte{106}, 5000)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := stream.New(tc.role)
			near, far := pipe(len(tc.msgs))
			for _, m := range tc.msgs {
				require.NoError(t, far.Write(t.Context(), websocket.MessageBinary, m))
			}
			a, err := s.Attach(t.Context())
			require.NoError(t, err)
			require.ErrorIs(t, a.Run(t.Context(), near, 0), stream.ErrProtocol)
			require.ErrorIs(t, s.Send(t.Context(), stream.Stdout, nil), stream.ErrProtocol)
			require.ErrorIs(t, s.Ended(), stream.ErrProtocol)
		})
	}
}

func repeat(p []byte, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = p
	}
	return out
}

func TestResumeOutsideOfWhatIsKeptIsRefused(t *testing.T) {
	s := stream.New(stream.Server)
	require.NoError(t, s.Send(t.Context(), stream.Stdout, nil))
	near, _ := pipe(1)
	a, err := s.Attach(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, a.Run(t.Context(), near, 2), stream.ErrProtocol)
	_, err = s.Attach(t.Context())
	require.NoError(t, err, "the stream is free again")
}

func TestLeavingEndsBothEnds(t *testing.T) {
	server, client := stream.New(stream.Server), stream.New(stream.Client)
	client.Leave()
	sc, cc := pipe(4)
	sc.cut, cc.cut = func() {}, func() {} // as with TCP, what was written before the end arrives
	serverErr, clientErr := connectOver(t.Context(), t, server, client, sc, cc, nil)
	require.ErrorIs(t, serverErr, stream.ErrLeft)
	require.ErrorIs(t, clientErr, stream.ErrLeft)
	_, err := server.Recv(t.Context())
	require.ErrorIs(t, err, stream.ErrLeft)
}

func TestSilentConnectionIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Server)
		near, _ := pipe(0) // nobody takes what is written
		a, err := s.Attach(t.Context())
		require.NoError(t, err)
		require.NoError(t, s.Send(t.Context(), stream.Stdout, []byte("x")))
		start := time.Now()
		// A ping falls on the same moment: it may be the one to notice that the
		// connection was given up.
		err = a.Run(t.Context(), near, 0)
		require.Error(t, err)
		assert.True(t, errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errCut), err)
		assert.Equal(t, stream.WriteTimeout, time.Since(start))
	})
}

func TestPayloadsAreBoundedAndCopied(t *testing.T) {
	s := stream.New(stream.Server)
	require.ErrorIs(t, s.Send(t.Context(), stream.Stdout, make([]byte, stream.MaxPayload+1)), stream.ErrProtocol)
	client := stream.New(stream.Client)
	p := []byte("keep")
	require.NoError(t, s.Send(t.Context(), stream.Stdout, p))
	copy(p, "lose")
	s.Finish(stream.Result, nil)
	s.Finish(stream.Failure, nil)
	require.ErrorIs(t, s.Send(t.Context(), stream.Stdout, nil), stream.ErrEnded)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = connect(t.Context(), t, s, client, nil)
	}()
	f, err := client.Recv(t.Context())
	require.NoError(t, err)
	assert.Equal(t, stream.Frame{Code: stream.Stdout, Payload: []byte("keep")}, f)
	f, err = client.Recv(t.Context())
	require.NoError(t, err)
	assert.Equal(t, stream.Result, f.Code)
	<-done
	require.ErrorIs(t, client.Ended(), stream.ErrEnded)
	select {
	case <-s.Delivered():
	default:
		t.Fatal("the end was not delivered")
	}
}

func TestHelloGoesThereAndBack(t *testing.T) {
	near, far := pipe(3)
	want := stream.Hello{Stream: "id", Received: 3, GraceSeconds: 30}
	require.NoError(t, stream.WriteHello(t.Context(), near, want))
	got, err := stream.ReadHello(t.Context(), far)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	for _, bad := range [][]byte{{}, {120}, []byte("\x78{}"), []byte("\x64{}")} {
		require.NoError(t, near.Write(t.Context(), websocket.MessageBinary, bad))
		_, err = stream.ReadHello(t.Context(), far)
		require.ErrorIs(t, err, stream.ErrProtocol)
	}
	near.cut()
	_, err = stream.ReadHello(t.Context(), far)
	require.ErrorIs(t, err, errCut)
}

func TestTerminalSizesGoThereAndBack(t *testing.T) {
	w, h, err := stream.UnmarshalSize(stream.MarshalSize(132, 43))
	require.NoError(t, err)
	assert.Equal(t, []uint16{132, 43}, []uint16{w, h})
	_, _, err = stream.UnmarshalSize([]byte{1, 2, 3})
	require.ErrorIs(t, err, stream.ErrProtocol)
}

// script is a connection on which some messages arrive before it breaks.
type script struct{ msgs [][]byte }

func (c *script) Read(context.Context) (websocket.MessageType, []byte, error) {
	if len(c.msgs) == 0 {
		return 0, nil, errCut
	}
	p := c.msgs[0]
	c.msgs = c.msgs[1:]
	return websocket.MessageBinary, p, nil
}

func (c *script) Write(context.Context, websocket.MessageType, []byte) error { return nil }
func (c *script) Ping(context.Context) error                                 { return nil }

func FuzzConnectionNeverPanics(f *testing.F) {
	f.Add([]byte{104, 1, 2}, []byte{121, 0, 0, 0, 0, 0, 0, 0, 1}, uint64(0), true)
	f.Add([]byte{102}, []byte{100}, uint64(1), false)
	f.Fuzz(func(t *testing.T, one, two []byte, received uint64, server bool) {
		role := stream.Client
		if server {
			role = stream.Server
		}
		s := stream.New(role)
		require.NoError(t, s.Send(t.Context(), stream.Stdout, []byte("x")))
		a, err := s.Attach(t.Context())
		require.NoError(t, err)
		err = a.Run(t.Context(), &script{[][]byte{one, two}}, received)
		require.Equal(t, err == nil, s.Complete())
	})
}
