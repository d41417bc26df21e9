package sdl

import "slices"

// Rule is the stable name of a rule, for example "missing-image". Names are
// never reused for something else.
type Rule string

// The rules. Each is explained by [Explain] and in docs/sdl.md.
const (
	// Document.
	ruleYAMLSyntax           Rule = "yaml-syntax"
	ruleYAMLTag              Rule = "yaml-tag"
	ruleMissingVersion       Rule = "missing-version"
	ruleUnsupportedVersion   Rule = "unsupported-version"
	ruleUnknownTopLevelKey   Rule = "unknown-top-level-key"
	ruleDuplicateTopLevelKey Rule = "duplicate-top-level-key"
	ruleSeveralDocuments     Rule = "several-documents"
	ruleUnknownKey           Rule = "unknown-key"
	ruleDuplicateKey         Rule = "duplicate-key"
	ruleNullKey              Rule = "null-key"
	ruleNullItem             Rule = "null-item"
	ruleWrongType            Rule = "wrong-type"
	ruleNumberRange          Rule = "number-range"
	ruleNumberTruncated      Rule = "number-truncated"
	ruleTooManyProblems      Rule = "too-many-problems"
	ruleLimitBytes           Rule = "limit-bytes"
	ruleLimitNodes           Rule = "limit-nodes"
	ruleLimitDepth           Rule = "limit-depth"
	ruleLimitKeys            Rule = "limit-keys"
	ruleLimitAliases         Rule = "limit-aliases"
	ruleLimitExpansions      Rule = "limit-expansions"
	ruleLimitManifest        Rule = "limit-manifest"
	// Services.
	ruleServiceName       Rule = "service-name"
	ruleServiceNameLength Rule = "service-name-length"
	ruleServiceUnused     Rule = "service-unused"
	ruleMissingImage      Rule = "missing-image"
	ruleEnvName           Rule = "env-name"
	ruleUnknownTarget     Rule = "unknown-target"
	ruleCredentials       Rule = "credentials-missing"
	ruleEmailDropped      Rule = "credentials-email-dropped"
	rulePermission        Rule = "permission-unknown"
	ruleTEE               Rule = "tee-unknown"
	ruleTEENeedsGPU       Rule = "tee-needs-gpu"
	ruleTEEConflict       Rule = "tee-conflict"
	ruleTEEAttribute      Rule = "tee-attribute"
	// Ports.
	rulePortRange          Rule = "port-range"
	rulePortOutside        Rule = "port-outside"
	ruleUnknownProtocol    Rule = "protocol-unknown"
	ruleGlobalAndService   Rule = "global-and-service"
	ruleNoGlobalService    Rule = "no-global-service"
	ruleHostname           Rule = "hostname"
	ruleHostnameTaken      Rule = "hostname-taken"
	ruleHTTPOptionRange    Rule = "http-option-range"
	ruleHTTPNextCase       Rule = "http-next-case"
	ruleHTTPNextCaseOff    Rule = "http-next-case-off"
	ruleHTTPOptionsIgnored Rule = "http-options-ignored"
	// Leased addresses.
	ruleEndpointName   Rule = "endpoint-name"
	ruleEndpointKind   Rule = "endpoint-kind"
	ruleEndpointUnused Rule = "endpoint-unused"
	ruleEndpointClash  Rule = "endpoint-clash"
	ruleIPUndeclared   Rule = "ip-undeclared"
	ruleIPNotGlobal    Rule = "ip-not-global"
	ruleIPPortTaken    Rule = "ip-port-taken"
	// Compute profiles.
	ruleMissingResources      Rule = "missing-resources"
	ruleProfileUnused         Rule = "profile-unused"
	ruleCPUSyntax             Rule = "cpu-syntax"
	ruleCPURange              Rule = "cpu-range"
	ruleCPUTruncated          Rule = "cpu-truncated"
	ruleCPUAttribute          Rule = "cpu-attribute"
	ruleSizeSyntax            Rule = "size-syntax"
	ruleMemoryRange           Rule = "memory-range"
	ruleVolumeRange           Rule = "volume-range"
	ruleVolumeDuplicate       Rule = "volume-duplicate"
	ruleVolumeNameIgnored     Rule = "volume-name-ignored"
	ruleVolumeUndefined       Rule = "volume-undefined"
	ruleVolumeNotMounted      Rule = "volume-not-mounted"
	ruleMountPath             Rule = "mount-path"
	ruleMountTaken            Rule = "mount-taken"
	ruleRAMReadOnly           Rule = "ram-read-only"
	ruleStorageAttribute      Rule = "storage-attribute"
	ruleStoragePersistent     Rule = "storage-persistent"
	ruleStorageClass          Rule = "storage-class"
	ruleStorageRAM            Rule = "storage-ram"
	ruleStorageEphemeralClass Rule = "storage-ephemeral-class"
	ruleStorageContradiction  Rule = "storage-contradiction"
	ruleGPUSyntax             Rule = "gpu-syntax"
	ruleGPURange              Rule = "gpu-range"
	ruleGPUVendorMissing      Rule = "gpu-vendor-missing"
	ruleGPUVendorUnknown      Rule = "gpu-vendor-unknown"
	ruleGPUUnitsMissing       Rule = "gpu-units-missing"
	ruleGPUModel              Rule = "gpu-model"
	ruleGPUModelMissing       Rule = "gpu-model-missing"
	ruleGPUDuplicate          Rule = "gpu-duplicate"
	ruleGPUInterface          Rule = "gpu-interface"
	// Placement and deployment.
	ruleAttributeKey       Rule = "attribute-key"
	rulePriceMissing       Rule = "price-missing"
	rulePriceSyntax        Rule = "price-syntax"
	rulePriceRange         Rule = "price-range"
	ruleDenom              Rule = "denom"
	ruleDenomMixed         Rule = "denom-mixed"
	rulePlacementName      Rule = "placement-name"
	ruleServiceUndefined   Rule = "service-undefined"
	ruleProfileUndefined   Rule = "profile-undefined"
	rulePlacementUndefined Rule = "placement-undefined"
	ruleEmptyDeployment    Rule = "empty-deployment"
	ruleNoDeployment       Rule = "no-deployment"
	ruleCountZero          Rule = "count-zero"
	ruleReplicasLimit      Rule = "replicas-limit"
	ruleUnitsLimit         Rule = "units-limit"
	ruleGroupsLimit        Rule = "groups-limit"
	ruleGroupTotal         Rule = "group-total"
	ruleReclamationWindow  Rule = "reclamation-window"
)

// RuleInfo explains a rule.
type RuleInfo struct {
	// Name is what [Error.Rule] holds.
	Name Rule `json:"name"`
	// Topic is the part of the grammar that the rule is about.
	Topic string `json:"topic"`
	// Compatible is the severity in [ModeCompatible]; in [ModeStrict] every
	// problem is an error. It is 0 when it depends on the case.
	Compatible Severity `json:"-"`
	// Summary says what is wrong.
	Summary string `json:"summary"`
	// Fix says what to do.
	Fix string `json:"fix"`
}

// Explain returns what there is to know about a rule; ok is false when there is
// no rule of that name.
func Explain(name Rule) (info RuleInfo, ok bool) {
	all := Rules()
	i := slices.IndexFunc(all, func(r RuleInfo) bool { return r.Name == name })
	if i < 0 {
		return RuleInfo{}, false
	}
	return all[i], true
}

// Rules returns all rules by topic.
func Rules() []RuleInfo {
	return slices.Concat(
		rulesOfDocument(),
		rulesOfServices(),
		rulesOfPorts(),
		rulesOfLeasedAddresses(),
		rulesOfComputeProfiles(),
		rulesOfPlacementAndDeployment(),
	)
}
