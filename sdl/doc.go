// Package sdl compiles the documents in which tenants say what they want to run
// (SDL, the Stack Definition Language of the Akash network, versions 2.0 and 2.1)
// into what the market and the provider need.
//
// [Compile] is where to start: it takes YAML or JSON and returns the group specs
// of the order, the manifest for the provider, and the version hash that ties
// the two together. Every document that the reference compiler accepts gives the
// same three, byte for byte.
//
//	res, err := sdl.Compile(src, sdl.Options{File: "deploy.yaml"})
//	for _, d := range sdl.AsDiagnostics(err) {
//		fmt.Println(d.Line, d.Column, d.Path, d.Rule, d.Message)
//	}
//
// A document that is wrong gives [Diagnostics]: all problems at once, each with
// its place, the rule that it breaks, what would be right and what was probably
// meant. [Explain] says more about a rule. In [ModeStrict] what the reference
// silently ignores is an error too.
//
// [Parse] gives the typed [Document] behind a text; a program can also build one
// in Go, compile it with [Document.Compile], and write it as YAML with
// [Document.Marshal]. [Format] lays out a text, and [Schema] describes the
// language for editors.
//
// The package reads no file, keeps no state and starts nothing. It links the
// standard library, packages market and sdl/manifest, and one YAML library. All
// functions are safe for concurrent use, and no input makes them panic or take
// more than time in proportion to its size: see [MaxBytes] and the other bounds.
// It does not know markets: which denominations a market takes and what it
// charges is not its business. docs/sdl.md describes the language.
package sdl
