package docker_test

import (
	"fmt"

	"github.com/moorage-dev/moorage/cluster/runtime/docker"
)

func ExampleSockets() {
	for _, path := range docker.Sockets(1000) {
		fmt.Println(path)
	}
	// Output:
	// /var/run/docker.sock
	// /run/podman/podman.sock
	// /run/user/1000/podman/podman.sock
}
