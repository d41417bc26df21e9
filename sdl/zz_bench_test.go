package sdl_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/moorage-dev/moorage/sdl"
	"go.yaml.in/yaml/v3"
)

func BenchmarkZZ(b *testing.B) {
	fs, _ := filepath.Glob(corpusDir + "/sdl/*.yaml")
	for _, f := range fs {
		st, _ := os.Stat(f)
		switch st.Size() {
		case 793, 890, 4467, 13751:
		default:
			continue
		}
		src, _ := os.ReadFile(f)
		b.Run(filepath.Base(f)+"/node", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var n yaml.Node
				_ = yaml.Unmarshal(src, &n)
			}
		})
		b.Run(filepath.Base(f)+"/compile", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sdl.Compile(src, sdl.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
