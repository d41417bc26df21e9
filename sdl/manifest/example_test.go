package manifest_test

import (
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

func ExampleManifest_Version() {
	m, _ := fitting()
	hash, err := m.Version()
	fmt.Println(len(hash), err)
	// Output: 32 <nil>
}

func ExampleCheck() {
	m, groups := fitting()
	m[0].Services[1].Resources.Memory.Bytes = 1 << 30
	err := manifest.Check(m, groups)
	var one *manifest.MismatchError
	if errors.As(err, &one) {
		fmt.Println(one.Group, one.Service, one.Field, one.Want, one.Got)
	}
	// Output: west web resources.memory.size 536870912 1073741824
}
