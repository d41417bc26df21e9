package sdl_test

import (
	"fmt"
	"testing"

	"github.com/moorage-dev/moorage/sdl"
)

func TestZZDump(t *testing.T) {
	eachDocument(t, func(t *testing.T, file string, src []byte, ref reference) {
		res, err := sdl.Compile(src, sdl.Options{File: file})
		ds := sdl.AsDiagnostics(err)
		if res != nil {
			ds = res.Diagnostics
		}
		if !ref.OK {
			fmt.Println("-- ", file, ref.Error, ref.Panic)
		}
		if len(ds) > 0 {
			fmt.Println(ds.Error())
		}
	})
}
