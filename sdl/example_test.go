package sdl_test

import (
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl"
)

const document = `version: "2.0"
services:
  web:
    image: nginx:1.27
    expose:
      - port: 80
        to:
          - global: true
profiles:
  compute:
    web:
      resources:
        cpu:
          units: 500m
        memory:
          size: 512Mi
        storage:
          - size: 1Gi
  placement:
    west:
      pricing:
        web:
          denom: uact
          amount: 100
deployment:
  web:
    west:
      profile: web
      count: 2
`

func ExampleCompile() {
	res, err := sdl.Compile([]byte(document), sdl.Options{File: "deploy.yaml"})
	if err != nil {
		fmt.Println(err)
		return
	}
	unit := res.Groups[0].Units[0]
	fmt.Println(res.Hash)
	fmt.Println(unit.CPU.MilliCores, unit.Memory.Bytes, unit.Count, unit.Price)
	fmt.Println(res.Manifest[0].Services[0].Image)
	// Output:
	// 3755d8c1578b234f07ff4b42beb4c0379f60770ba7533fe8d1210b79e247b0b2
	// 500 536870912 2 100uact/block
	// nginx:1.27
}

func ExampleCompile_problems() {
	src := []byte("version: \"2.0\"\nservices:\n  web:\n    imgae: nginx\n")
	_, err := sdl.Compile(src, sdl.Options{File: "deploy.yaml", Mode: sdl.ModeStrict})
	var first *sdl.Error
	if errors.As(err, &first) {
		fmt.Println(first.Line, first.Column, first.Path, first.Rule, first.Suggestion)
	}
	// Output: 3 3 services.web service-unused
}

func ExampleDiagnostics_Render() {
	src := []byte("version: \"1.5\"\n")
	_, err := sdl.Compile(src, sdl.Options{File: "deploy.yaml"})
	fmt.Print(sdl.AsDiagnostics(err).Render(src))
	// Output:
	// deploy.yaml:1:10: error: version: unsupported version "1.5"; allowed: 2.0, 2.1 [unsupported-version]
	//     1 | version: "1.5"
	//       |          ^~~~~
}

func ExampleDocument_Marshal() {
	doc := sdl.Document{
		Version: "2.1",
		Services: []sdl.Service{{
			Name: "web", Image: "nginx:1.27", Env: []string{"MODE=production"},
			Expose: []sdl.Expose{{Port: 80, To: []sdl.ExposeTo{{Global: true}}}},
		}},
		Compute: []sdl.ComputeProfile{{
			Name: "small", CPU: &sdl.CPU{MilliCores: 500}, Memory: &sdl.Memory{Bytes: 512 << 20},
			Storage: []sdl.Volume{{Bytes: 1 << 30}},
		}},
		Placement: []sdl.PlacementProfile{{
			Name:    "west",
			Pricing: []sdl.ProfilePrice{{Profile: "small", Price: market.Price{Denom: "uact", AmountPerBlock: market.NewDecimal(100)}}},
		}},
		Deployment: []sdl.Deployment{{
			Service: "web", Placements: []sdl.ServicePlacement{{Placement: "west", Profile: "small", Count: 1}},
		}},
	}
	built, err := doc.Compile(sdl.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := doc.Marshal()
	if err != nil {
		fmt.Println(err)
		return
	}
	read, err := sdl.Compile(text, sdl.Options{})
	fmt.Println(err, built.Hash == read.Hash)
	// Output: <nil> true
}

func ExampleFormat() {
	out, err := sdl.Format([]byte("version:   \"2.0\"\nservices:\n    web:   # the site\n        image: nginx\n"))
	fmt.Print(string(out), err)
	// Output:
	// version: "2.0"
	// services:
	//   web:   # the site
	//     image: nginx
	// <nil>
}

func ExampleExplain() {
	info, _ := sdl.Explain("size-syntax")
	fmt.Println(info.Summary)
	// Output: A size is no number with a known suffix. Suffixes are case-sensitive and have no B.
}
