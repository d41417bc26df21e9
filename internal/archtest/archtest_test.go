package archtest_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/moorage-dev/moorage"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Name       string
	GoFiles    []string
	CgoFiles   []string
	Imports    []string
	Deps       []string
	Standard   bool
	Module     *struct{ Path string }
}

// load lists the project's packages and all they link, by path.
func load(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,Name,GoFiles,CgoFiles,Imports,Deps,Standard,Module", "./...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %s", exit.Stderr)
	}
	require.NoError(t, err)
	all := map[string]pkg{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		all[p.ImportPath] = p
	}
	require.NotEmpty(t, all)
	return all
}

// ours reports whether a package is of this module.
func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

// short is the path below the module.
func short(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }

// below reports whether path is one of the rooms or below one.
func below(path string, rooms ...string) bool {
	return slices.ContainsFunc(rooms, func(r string) bool { return path == r || strings.HasPrefix(path, r+"/") })
}

// allowed lists for the light packages every dependency outside the standard
// library. Links are counted through all levels.
var allowed = []struct {
	pkg    string
	links  []string
	reason string
}{
	{"market", nil, "the vocabulary must cost nobody anything"},
	{"lease", []string{module + "/market"}, "escrow is arithmetic on market values"},
	{"market/machine", []string{module + "/market", module + "/lease"}, "the rules run on any host"},
	{"sdl/manifest", []string{module + "/market"}, "a manifest is values and a hash"},
	{"sdl", []string{module + "/market", module + "/sdl/manifest", "go.yaml.in/yaml", "github.com/hashicorp/go-multierror", "github.com/hashicorp/errwrap"},
		"a program that only needs SDL links almost nothing"},
	{"netpolicy", []string{module + "/market", module + "/sdl/manifest"}, "what may flow is decided from values alone"},
	{"cluster/inventory", []string{module + "/market", module + "/sdl/manifest"}, "placement is pure"},
	{"cluster/driver", []string{module + "/market", module + "/sdl/manifest", module + "/cluster/inventory", module + "/netpolicy"},
		"the author of a driver implements values and interfaces"},
	{"iplease", []string{module + "/market"}, "who has which address is decided anywhere"},
	{"iplease/driver", []string{module + "/market", module + "/iplease"}, "the author of an announcer implements values and interfaces"},
}

func TestLightPackagesLinkOnlyWhatTheyMay(t *testing.T) {
	all := load(t)
	for _, rule := range allowed {
		p, ok := all[module+"/"+rule.pkg]
		if !ok {
			t.Errorf("package %s is gone", rule.pkg)
			continue
		}
		for _, dep := range p.Deps {
			if all[dep].Standard || below(dep, rule.links...) {
				continue
			}
			t.Errorf("%s links %s: it may not, because %s", rule.pkg, dep, rule.reason)
		}
	}
}

// restricted lists what only some rooms may link, counted through all levels.
var restricted = []struct {
	links  []string
	rooms  []string
	reason string
}{
	{[]string{"github.com/cosmos", "github.com/cometbft", "cosmossdk.io"}, []string{"market/chain", "examples"},
		"only the Cosmos host knows Cosmos"},
	{[]string{"github.com/cosmos/ibc-go", "github.com/ethereum"},
		[]string{"market/chain/app", "market/chain/node", "market/chain/chaintest", "examples"},
		"only who runs a chain links IBC: the client, the keys and the modules do not"},
	{[]string{"k8s.io"}, []string{"cluster/kube", "iplease/metallb", "netpolicy/kubepolicy", "internal/kubetest", "internal/cyclonus", "examples"},
		"only the Kubernetes back ends know Kubernetes"},
	{[]string{"github.com/opencontainers/runc", "github.com/opencontainers/cgroups"}, []string{"cluster/runtime", "examples"},
		"only the embedded runtime knows runc"},
	{[]string{"github.com/moby/moby"}, []string{"cluster/runtime", "examples"}, "only the runtimes know Docker"},
	{[]string{"github.com/prometheus"}, []string{"provider/metrics", "market/chain", "examples"},
		"who embeds a provider chooses how it is watched"},
}

func TestHeavyLibrariesStayInTheirRooms(t *testing.T) {
	all := load(t)
	for path, p := range all {
		if !ours(path) {
			continue
		}
		for _, rule := range restricted {
			if below(short(path), rule.rooms...) {
				continue
			}
			for _, dep := range p.Deps {
				if below(dep, rule.links...) {
					t.Errorf("%s links %s: %s", short(path), dep, rule.reason)
					break
				}
			}
		}
	}
}

// drivers are the back ends of each interface, and its portable side.
var drivers = []string{
	"cluster/memcluster", "cluster/kube", "cluster/fleet", "cluster/edge",
	"iplease/memannouncer", "iplease/layer2", "iplease/metallb",
}

func TestDriversKnowNeitherEachOtherNorThePortableType(t *testing.T) {
	all := load(t)
	for _, d := range drivers {
		p, ok := all[module+"/"+d]
		if !ok {
			continue
		}
		for _, dep := range p.Deps {
			other := slices.ContainsFunc(drivers, func(o string) bool { return o != d && below(short(dep), o) })
			portable := dep == module+"/cluster" || below(dep, module+"/provider")
			if ours(dep) && (other || portable) {
				t.Errorf("%s links %s: a driver knows values and its interface, nothing above or beside it", d, short(dep))
			}
		}
	}
	for _, dep := range all[module+"/cluster"].Deps {
		for _, d := range drivers {
			if below(short(dep), d) {
				t.Errorf("cluster links the driver %s: programs choose drivers", d)
			}
		}
	}
}

func TestOnlySuitesAndTestsImportTesting(t *testing.T) {
	all := load(t)
	for path, p := range all {
		if ours(path) && !strings.HasSuffix(path, "test") && slices.Contains(p.Imports, "testing") {
			t.Errorf("%s imports testing outside its tests", short(path))
		}
	}
}

// pure are levels 0 to 2: they ask neither the clock nor the system.
var pure = []string{"market", "lease", "market/machine", "iplease", "sdl", "sdl/manifest", "netpolicy", "cluster/inventory"}

func TestPurePackagesAskNobody(t *testing.T) {
	all := load(t)
	for _, room := range pure {
		p, ok := all[module+"/"+room]
		if !ok {
			continue
		}
		for _, banned := range []string{"os", "net/http", "net", "math/rand", "math/rand/v2"} {
			redacts := banned == "log/slog" && below(room, "sdl") // its secrets say REDACTED to loggers
			if slices.Contains(p.Imports, banned) && !redacts {
				t.Errorf("%s imports %s: its results may depend on its arguments only", room, banned)
			}
		}
		for _, file := range parseFiles(t, p, 0) {
			ast.Inspect(file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if id, ok := sel.X.(*ast.Ident); ok && id.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After"}, sel.Sel.Name) {
					t.Errorf("%s uses time.%s: heights and times are arguments", room, sel.Sel.Name)
				}
				return true
			})
		}
	}
}

func TestNoPackageIsNamedAfterNothing(t *testing.T) {
	all := load(t)
	for path, p := range all {
		if ours(path) && slices.Contains([]string{"types", "util", "utils", "common", "helper", "helpers", "base", "misc"}, p.Name) {
			t.Errorf("package %s says nothing about what is in it", short(path))
		}
	}
}

func TestEveryPackageAndExportedNameIsDocumented(t *testing.T) {
	all := load(t)
	for path, p := range all {
		if !ours(path) || strings.HasSuffix(path, ".test") {
			continue
		}
		documented := false
		for name, file := range parseFiles(t, p, parser.ParseComments) {
			if file.Doc != nil {
				documented = true
			}
			if p.Name != "main" && !generated(file) {
				undocumented(t, short(path)+"/"+name, file)
			}
		}
		if !documented {
			t.Errorf("package %s has no package comment", short(path))
		}
	}
}

func TestNoInitAndNoPackageVariablesButErrors(t *testing.T) {
	all := load(t)
	for path, p := range all {
		if !ours(path) {
			continue
		}
		for name, file := range parseFiles(t, p, parser.ParseComments) {
			if generated(file) {
				continue
			}
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s/%s has an init function", short(path), name)
				}
			}
		}
	}
}

func parseFiles(t *testing.T, p pkg, mode parser.Mode) map[string]*ast.File {
	t.Helper()
	out := map[string]*ast.File{}
	for _, name := range append(slices.Clone(p.GoFiles), p.CgoFiles...) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, mode)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		out[name] = f
	}
	return out
}

func generated(f *ast.File) bool { return ast.IsGenerated(f) }

// undocumented reports exported names without a comment.
func undocumented(t *testing.T, where string, file *ast.File) {
	t.Helper()
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
				t.Errorf("%s: %s has no comment", where, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				name, doc := specName(spec)
				if ast.IsExported(name) && doc == nil && d.Doc == nil {
					t.Errorf("%s: %s has no comment", where, name)
				}
			}
		}
	}
}

func specName(spec ast.Spec) (string, *ast.CommentGroup) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		return s.Name.Name, s.Doc
	case *ast.ValueSpec:
		if s.Doc == nil {
			return s.Names[0].Name, s.Comment
		}
		return s.Names[0].Name, s.Doc
	}
	return "", nil
}

func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	typ := f.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}
