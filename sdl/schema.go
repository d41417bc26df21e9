package sdl

import (
	"encoding/json"
	"strings"
)

// Schema returns a JSON Schema (draft-07) of the language for editors. It is
// made of the same keys, words and ranges as the compiler uses, and accepts every
// document that compiles in [ModeStrict]. What one schema cannot say, such as
// names that must exist elsewhere, is left to the compiler.
func Schema() []byte {
	root := object(rootKeys, schema{
		"version":     describe(versionSchema(), "Version of the language."),
		"include":     describe(orNull(listOf(textSchema())), "Read and ignored."),
		"services":    describe(mapOf(serviceSchema(), `^[a-z]([-a-z0-9]*[a-z0-9])?$`), "What runs, by name of the service."),
		"profiles":    profilesSchema(),
		"deployment":  describe(mapOf(mapOf(deploymentSchema(), ""), ""), "Where each service runs: service, placement, then profile and count."),
		"endpoints":   describe(orNull(mapOf(endpointSchema(), `^[a-z][a-z0-9_-]+$`)), "Leased addresses, by name."),
		"reclamation": reclamationSchema(),
	}, "version services profiles deployment")
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "SDL"
	root["description"] = "Stack Definition Language 2.0 and 2.1"
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil // a tree of text and numbers cannot fail to marshal
	}
	return append(b, '\n')
}

// schema is one object of a JSON Schema.
type schema map[string]any

// object describes a mapping with the keys of the grammar, some required.
func object(keys string, properties schema, required string) schema {
	for _, key := range strings.Fields(keys) {
		if properties[key] == nil {
			properties[key] = schema{}
		}
	}
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if required != "" {
		s["required"] = strings.Fields(required)
	}
	return s
}

func describe(s schema, text string) schema {
	s["description"] = text
	return s
}

func anyOf(list ...schema) schema { return schema{"anyOf": list} }

// orNull allows nothing as well.
func orNull(s schema) schema { return anyOf(s, schema{"type": "null"}) }

func listOf(item schema) schema { return schema{"type": "array", "items": item} }

// mapOf describes a mapping of names that match a pattern, "" for any.
func mapOf(value schema, names string) schema {
	s := schema{"type": "object", "additionalProperties": value}
	if names != "" {
		s["propertyNames"] = schema{"pattern": names}
	}
	return s
}

// textSchema allows what is read as text: numbers and booleans too.
func textSchema() schema { return schema{"type": []string{"string", "number", "boolean"}} }

func filledTextSchema() schema {
	return anyOf(schema{"type": "string", "minLength": 1}, schema{"type": []string{"number", "boolean"}})
}

func oneWordOf(words string) schema { return schema{"enum": strings.Fields(words)} }

func numberIn(lo, hi uint64) schema {
	return schema{"type": "integer", "minimum": lo, "maximum": hi}
}

// booleanSchema allows the words of YAML 1.1.
func booleanSchema() schema {
	return anyOf(schema{"type": "boolean"}, oneWordOf("y Y yes Yes YES on On ON n N no No NO off Off OFF"), schema{"type": "null"})
}

func versionSchema() schema {
	return anyOf(
		schema{"type": "string", "pattern": `^\s*v?0*2(\.0*[01](\.0+)?)?(\+[0-9A-Za-z.-]+)?\s*$`},
		schema{"enum": []any{2, 2.1}},
	)
}

func serviceSchema() schema {
	s := object(serviceKeys, schema{
		"image":        describe(filledTextSchema(), "Reference of the container image."),
		"command":      describe(orNull(listOf(textSchema())), "Replaces the entry point."),
		"args":         describe(orNull(listOf(textSchema())), "Arguments of the command."),
		"env":          describe(orNull(listOf(envSchema())), "Environment: NAME=VALUE or NAME."),
		"expose":       describe(orNull(listOf(exposeSchema())), "Ports and who may reach them."),
		"dependencies": describe(orNull(listOf(object(dependencyKeys, schema{"service": textSchema()}, "service"))), "Read and ignored."),
		"params":       paramsSchema(),
		"credentials":  credentialsSchema(),
	}, "image")
	return s
}

func envSchema() schema {
	return anyOf(schema{"type": "string", "pattern": `^[-._a-zA-Z][-._a-zA-Z0-9]*(=|$)`}, schema{"type": "boolean"})
}

func exposeSchema() schema {
	return object(exposeKeys, schema{
		"port":         describe(numberIn(1, MaxPort), "Port that the container listens on."),
		"as":           describe(orNull(numberIn(0, MaxPort)), "Port outside; the same by default."),
		"proto":        describe(orNull(schema{"type": "string", "pattern": `^([tT][cC][pP]|[uU][dD][pP]|)$`}), "tcp or udp; tcp by default."),
		"accept":       describe(orNull(listOf(hostnameSchema())), "Host names that are routed to the port."),
		"to":           describe(orNull(listOf(exposeToSchema())), "Who may reach the port; the services of the group by default."),
		"http_options": describe(orNull(httpOptionsSchema()), "Options of the HTTP router."),
	}, "port")
}

func hostnameSchema() schema {
	return anyOf(
		schema{"type": "string", "pattern": `^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`, "maxLength": 253},
		schema{"type": []string{"number", "boolean"}},
	)
}

func exposeToSchema() schema {
	keys := strings.TrimSuffix(exposeToKeys, " http_options") // ignored there, so not offered
	s := object(keys, schema{
		"service": describe(orNull(textSchema()), "The one service that may reach the port."),
		"global":  describe(booleanSchema(), "Opens the port to the world."),
		"ip":      describe(orNull(textSchema()), "Endpoint whose leased address carries the port."),
	}, "")
	s["if"] = schema{"properties": schema{"ip": schema{"type": "string", "minLength": 1}}, "required": []string{"ip"}}
	s["then"] = schema{"required": []string{"global"}}
	return s
}

func httpOptionsSchema() schema {
	limit := func(most uint64, text string) schema { return describe(orNull(numberIn(0, most)), text) }
	const most = 1<<32 - 1
	return object(httpOptionKeys, schema{
		"max_body_size":     limit(MaxBodySize, "Largest body in bytes; 1048576 by default."),
		"read_timeout":      limit(MaxReadTimeout, "Milliseconds; 60000 by default."),
		"send_timeout":      limit(MaxSendTimeout, "Milliseconds; 60000 by default."),
		"next_tries":        limit(most, "Tries on other replicas; 3 by default."),
		"next_timeout":      limit(most, "Milliseconds for all tries; 0 is no bound."),
		"next_cases":        describe(orNull(listOf(nextCaseSchema())), "When to try another replica; error and timeout by default."),
		"proxy_buffer_size": limit(MaxProxyBufferSize, "Buffer for response headers in bytes; left to the provider by default."),
	}, "")
}

// nextCaseSchema allows the codes as numbers and off as the boolean that some
// parsers make of it.
func nextCaseSchema() schema {
	return anyOf(oneWordOf(nextCaseNames), schema{"enum": []any{403, 404, 429, 500, 502, 503, 504}}, schema{"const": false})
}

func paramsSchema() schema {
	mount := object(mountKeys, schema{
		"mount":    describe(schema{"type": "string", "pattern": "^/"}, "Absolute path in the container."),
		"readOnly": describe(booleanSchema(), "Not with class ram."),
	}, "mount")
	permissions := object(permissionKeys, schema{"read": orNull(listOf(oneWordOf(permissionNames)))}, "")
	return orNull(object(paramsKeys, schema{
		"storage":     describe(orNull(mapOf(mount, "")), "Where volumes are mounted, by name of the volume."),
		"permissions": describe(orNull(permissions), "What the workload may read about itself."),
		"tee":         describe(orNull(oneWordOf(teeNames+" ")), "Trusted execution environment."),
	}, ""))
}

func credentialsSchema() schema {
	return describe(orNull(object(credentialKeys, schema{
		"host": filledTextSchema(), "email": orNull(textSchema()), "username": filledTextSchema(), "password": filledTextSchema(),
	}, "host username password")), "Login to the registry of the image.")
}

func profilesSchema() schema {
	return object(profilesKeys, schema{
		"compute":   describe(mapOf(object(computeKeys, schema{"resources": resourcesSchema()}, computeKeys), ""), "What one replica needs, by name of the profile."),
		"placement": describe(mapOf(placementSchema(), ""), "Where to run and at what price, by name."),
	}, profilesKeys)
}

// quantityPattern matches the numbers that the reference reads.
const quantityPattern = `^\+?(([0-9_]+(\.[0-9_]*)?|\.[0-9_]+)([eE][-+]?[0-9_]+)?|0[xX][0-9a-fA-F_.]+([pP][-+]?[0-9_]+)?)`

func sizeSchema(lo, hi uint64, suffixes string) schema {
	words := strings.Join(strings.Fields(suffixes), "|")
	return anyOf(
		schema{"type": "number", "minimum": lo, "maximum": hi},
		schema{"type": "string", "pattern": quantityPattern + "(" + words + ")?$"},
	)
}

func resourcesSchema() schema {
	units := anyOf(
		schema{"type": "number", "minimum": 0.01, "maximum": MaxMilliCores / 1000},
		schema{"type": "string", "pattern": `^[0-9]+m$|` + quantityPattern + "$"},
	)
	cpu := object(cpuKeys, schema{
		"units":      describe(units, "Cores, as 0.5, or thousandths of a core, as 500m; 10m to 384."),
		"attributes": orNull(object(cpuAttributes, schema{"arch": orNull(textSchema())}, "")),
	}, "units")
	memory := object(memoryKeys, schema{"size": describe(sizeSchema(MinMemoryBytes, MaxMemoryBytes, byteSuffixes), "Bytes, as 512Mi; 1Mi to 2Ti.")}, memoryKeys)
	return object(resourcesKeys, schema{
		"cpu": cpu, "memory": memory, "gpu": orNull(gpuSchema()),
		"storage": anyOf(volumeSchema(), schema{"type": "array", "items": volumeSchema(), "minItems": 1}),
	}, "cpu memory storage")
}

func gpuSchema() schema {
	model := object(gpuModelKeys, schema{
		"model":     describe(textSchema(), "Name of the model; * for any."),
		"ram":       describe(orNull(sizeSchema(0, 1<<62, binarySuffixes)), "Memory of the card, as 80Gi."),
		"interface": describe(orNull(oneWordOf(gpuInterfaces)), "Interface of the card."),
	}, "model")
	vendor := object(gpuVendors, schema{"nvidia": orNull(listOf(model))}, gpuVendors)
	s := object(gpuKeys, schema{
		"units":      describe(orNull(anyOf(numberIn(0, MaxGPUs), schema{"type": "string", "pattern": "^[0-9]+$"})), "Number of cards, 0 to 24."),
		"attributes": orNull(object(gpuAttributes, schema{"vendor": vendor}, gpuAttributes)),
	}, "")
	some := anyOf(schema{"type": "number", "exclusiveMinimum": 0}, schema{"type": "string", "pattern": "[1-9]"})
	s["if"] = schema{"properties": schema{"units": some}, "required": []string{"units"}}
	s["then"] = schema{"properties": schema{"attributes": schema{"type": "object"}}, "required": []string{"attributes"}}
	return s
}

func volumeSchema() schema {
	attributes := object(volumeAttrKeys, schema{
		"persistent": describe(anyOf(schema{"type": "boolean"}, oneWordOf(booleanWords)), "Outlives its containers."),
		"class":      describe(orNull(oneWordOf(storageClasses)), "Kind of storage."),
	}, "")
	ram := schema{"properties": schema{"class": schema{"const": storageClassRAM}}, "required": []string{"class"}}
	attributes["if"] = ram
	attributes["then"] = schema{"properties": schema{"persistent": schema{"enum": []any{false, "false"}}}}
	return object(volumeKeys, schema{
		"name":       describe(orNull(textSchema()), "default when there is none."),
		"size":       describe(sizeSchema(MinVolumeBytes, MaxVolumeBytes, byteSuffixes), "Bytes, as 10Gi; 5Mi to 32Ti."),
		"attributes": orNull(attributes),
	}, "size")
}

func placementSchema() schema {
	price := object(priceKeys, schema{
		"denom": describe(schema{"type": "string", "pattern": `^[a-zA-Z][a-zA-Z0-9/:._-]{2,127}$`}, "Denomination, as uact."),
		"amount": describe(anyOf(
			schema{"type": "number", "exclusiveMinimum": 0, "maximum": MaxPrice},
			schema{"type": "string", "pattern": `^\+?[0-9]*(\.[0-9]{1,18})?$`, "minLength": 1},
		), "Most to be paid for one replica and block."),
	}, priceKeys)
	return object(placementKeys, schema{
		"attributes": describe(orNull(mapOf(orNull(textSchema()), "")), "Attributes that the provider must have."),
		"signedBy": describe(orNull(object(signedByKeys, schema{
			"allOf": orNull(listOf(textSchema())), "anyOf": orNull(listOf(textSchema())),
		}, "")), "Auditors who must have signed the attributes."),
		"pricing": describe(mapOf(orNull(price), ""), "Price by name of the compute profile."),
	}, "pricing")
}

func deploymentSchema() schema {
	return object(deploymentKeys, schema{
		"profile": describe(textSchema(), "Name of the compute profile."),
		"count":   describe(numberIn(1, MaxReplicas), "Number of replicas."),
	}, deploymentKeys)
}

func endpointSchema() schema {
	return object(endpointKeys, schema{"kind": describe(oneWordOf(endpointKinds), "Kind of endpoint.")}, endpointKeys)
}

func reclamationSchema() schema {
	window := describe(schema{"type": "string", "pattern": `^[1-9][0-9]*(s|m|h)$`}, "Notice before a provider takes back a lease, as 24h.")
	return describe(object(reclamationKeys, schema{"min_window": window}, reclamationKeys), "What is asked of a provider that wants a lease back.")
}
