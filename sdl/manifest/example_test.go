package manifest_test

import (
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

func ExampleManifest_Version() {
	m, _ := fitting()
	hash, err := m.Version()
	fmt.Println(hash, err)
	// Output: de26525c5422886056facba2c3a4c5938767134a2ae8fa8e6e4f8245892bfd14 <nil>
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
