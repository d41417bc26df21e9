package stream_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/moorage-dev/moorage/provider/gateway/stream"
)

func Example() {
	ctx := context.Background()
	server, client := stream.New(stream.Server), stream.New(stream.Client)
	_ = server.Send(ctx, stream.Stdout, []byte("hello"))
	server.Finish(stream.Result, []byte(`{"exit_code":0}`))

	near, far := pipe(1) // in real life a WebSocket
	var wg sync.WaitGroup
	serve := func(s *stream.Stream, conn stream.Conn) {
		a, err := s.Attach(ctx)
		if err == nil {
			err = a.Run(ctx, conn, 0)
		}
		near.cut()
		fmt.Println("ended:", err)
	}
	wg.Go(func() { serve(server, near) })
	wg.Go(func() { serve(client, far) })
	for range 2 {
		f, _ := client.Recv(ctx)
		fmt.Println(f.Code, string(f.Payload))
	}
	wg.Wait()
	// Output:
	// 100 hello
	// 102 {"exit_code":0}
	// ended: <nil>
	// ended: <nil>
}
