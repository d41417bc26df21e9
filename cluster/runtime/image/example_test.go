package image_test

import (
	"fmt"

	"github.com/moorage-dev/moorage/cluster/runtime/image"
)

func ExampleSameRegistry() {
	fmt.Println(image.SameRegistry("docker.io", "index.docker.io"))
	fmt.Println(image.SameRegistry("https://ghcr.io/", "ghcr.io"))
	fmt.Println(image.SameRegistry("ghcr.io", "registry.example"))
	// Output:
	// true
	// true
	// false
}
