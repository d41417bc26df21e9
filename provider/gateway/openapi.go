package gateway

import (
	"encoding"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/moorage-dev/moorage/provider/gateway/api"
)

type object = map[string]any

// openAPIDocument describes the table of routes in OpenAPI 3.1, for programs in
// other languages. It is made from the table and the documents themselves, so
// that it cannot differ from them.
func openAPIDocument() map[string]any {
	s := schemas{docs: object{}, keys: map[reflect.Type]string{}}
	paths := map[string]any{}
	for _, rt := range Routes() {
		path, ok := paths[rt.Pattern].(object)
		if !ok {
			path = object{}
			paths[rt.Pattern] = path
		}
		path[strings.ToLower(rt.Method)] = rt.operation(s)
	}
	s.ref(reflect.TypeFor[api.Body]())
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": "Moorage provider gateway", "version": api.APIVersion},
		"paths":   paths,
		"components": object{
			"schemas": s.docs,
			"securitySchemes": object{
				"certificate": object{"type": "mutualTLS"},
				"token":       object{"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
			},
		},
	}
}

func (rt Route) operation(s schemas) map[string]any {
	op := object{
		"x-scope":    rt.Scope,
		"parameters": rt.parameters(),
		"responses": object{
			strconv.Itoa(rt.success()): rt.response(s),
			"default":                  object{"description": "refused", "content": jsonContent(s.ref(reflect.TypeFor[api.Body]()))},
		},
	}
	if rt.Scope != api.ScopePublic {
		op["security"] = []object{{"certificate": []string{}}, {"token": []string{}}}
	}
	if rt.in != nil {
		op["requestBody"] = object{"required": true, "content": jsonContent(s.ref(rt.in))}
	}
	return op
}

func (rt Route) success() int {
	if rt.out == nil {
		return http.StatusNoContent
	}
	return http.StatusOK
}

func (rt Route) response(s schemas) map[string]any {
	switch {
	case rt.out == nil:
		return object{"description": "done"}
	case rt.Stream:
		return object{
			"description": "one document per line; over WebSocket in frames, see package provider/gateway/stream",
			"content":     object{"application/x-ndjson": object{"schema": s.ref(rt.out)}},
		}
	}
	return object{"description": "answer", "content": jsonContent(s.ref(rt.out))}
}

func jsonContent(schema any) object {
	return object{"application/json": object{"schema": schema}}
}

func (rt Route) parameters() []object {
	list := []object{}
	for part := range strings.SplitSeq(rt.Pattern, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			list = append(list, object{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, name := range rt.Query {
		list = append(list, object{"name": strings.Replace(name, "*", "0", 1), "in": "query", "schema": object{"type": "string"}})
	}
	return list
}

// schemas are the named JSON schemas that were referred to. A type has one key,
// which no other type has, of the letters that OpenAPI allows.
type schemas struct {
	docs object
	keys map[reflect.Type]string
}

// key returns the key of a type, and whether it is new.
func (s schemas) key(t reflect.Type) (key string, fresh bool) {
	if key, ok := s.keys[t]; ok {
		return key, false
	}
	// Parameters of generic types are written with their packages' paths.
	name := pathOfPackage().ReplaceAllString(t.Name(), "")
	name = strings.Trim(notInKey().ReplaceAllString(name, "_"), "_")
	key = name
	for n := 2; s.docs[key] != nil; n++ {
		key = name + strconv.Itoa(n)
	}
	s.keys[t], s.docs[key] = key, object{} // a type may refer to itself
	return key, true
}

func pathOfPackage() *regexp.Regexp { return regexp.MustCompile(`[^\[\],*]*/`) }
func notInKey() *regexp.Regexp      { return regexp.MustCompile(`[^a-zA-Z0-9.-]+`) }

// ref returns a schema for a type; structs are named and kept.
func (s schemas) ref(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.ref(t.Elem())
	case reflect.Struct:
		key, fresh := s.key(t)
		if fresh {
			s.docs[key] = s.structure(t)
		}
		return object{"$ref": "#/components/schemas/" + key}
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": s.ref(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.ref(t.Elem())}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	default:
		return object{"type": "integer"}
	}
}

func (s schemas) structure(t reflect.Type) object {
	properties := object{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous && name == "":
			inner, _ := s.structure(f.Type)["properties"].(object)
			for k, v := range inner {
				properties[k] = v
			}
		case name == "":
			properties[f.Name] = s.ref(f.Type)
		default:
			properties[name] = s.ref(f.Type)
		}
	}
	return object{"type": "object", "properties": properties}
}
