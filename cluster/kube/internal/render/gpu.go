package render

import (
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	resource "k8s.io/client-go/applyconfigurations/resource/v1"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// claimName is the name of a pod's claim of devices, and of the request in it.
const claimName = "gpu"

func claimTemplateName(service string) string { return derive("gpu", service) }

// claimTemplate asks for cards by dynamic resource allocation.
func (r *renderer) claimTemplate(s manifest.Service) {
	choice := r.in.Resolution.GPU[s.Name]
	if s.Resources.GPU.Units == 0 || choice.Class == "" {
		return
	}
	exactly := &resource.ExactDeviceRequestApplyConfiguration{
		DeviceClassName: &choice.Class, AllocationMode: new(resourcev1.DeviceAllocationModeExactCount),
		Count: new(int64(s.Resources.GPU.Units)),
	}
	for _, text := range choice.Selectors {
		exactly.Selectors = append(exactly.Selectors, resource.DeviceSelectorApplyConfiguration{
			CEL: &resource.CELDeviceSelectorApplyConfiguration{Expression: new(text)},
		})
	}
	k, name := ClaimTemplates(), claimTemplateName(s.Name)
	r.add(k, name, s.Name, &resource.ResourceClaimTemplateApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, name, s.Name, nil),
		Spec: &resource.ResourceClaimTemplateSpecApplyConfiguration{Spec: &resource.ResourceClaimSpecApplyConfiguration{
			Devices: &resource.DeviceClaimApplyConfiguration{Requests: []resource.DeviceRequestApplyConfiguration{{
				Name: new(claimName), Exactly: exactly,
			}}},
		}},
	})
}

// placement says on which nodes the pods may run: those with the cards, the
// architecture and the attributes that were asked for.
func (r *renderer) placement(s manifest.Service, p *core.PodSpecApplyConfiguration) {
	var terms []core.NodeSelectorRequirementApplyConfiguration
	in := func(key string, values ...string) {
		terms = append(terms, core.NodeSelectorRequirementApplyConfiguration{
			Key: &key, Operator: new(corev1.NodeSelectorOpIn), Values: values,
		})
	}
	for _, as := range []market.Attributes{s.Resources.CPU.Attributes, s.Resources.Memory.Attributes} {
		for _, a := range as {
			if a.Key == "arch" {
				in(corev1.LabelArchStable, Architecture(a.Value))
			} else {
				in(NodeAttributePrefix+a.Key, a.Value)
			}
		}
	}
	if choice := r.in.Resolution.GPU[s.Name]; s.Resources.GPU.Units > 0 {
		if choice.Class != "" {
			p.ResourceClaims = []core.PodResourceClaimApplyConfiguration{{
				Name: new(claimName), ResourceClaimTemplateName: new(claimTemplateName(s.Name)),
			}}
		} else if len(choice.Values) > 0 {
			in(choice.Label, choice.Values...)
		}
	}
	if len(terms) == 0 {
		return
	}
	p.Affinity = &core.AffinityApplyConfiguration{NodeAffinity: &core.NodeAffinityApplyConfiguration{
		RequiredDuringSchedulingIgnoredDuringExecution: &core.NodeSelectorApplyConfiguration{
			NodeSelectorTerms: []core.NodeSelectorTermApplyConfiguration{{MatchExpressions: terms}},
		},
	}}
}

// NodeAttributePrefix begins the node labels that become attributes of nodes.
const NodeAttributePrefix = "attributes.moorage.dev/"

// Architecture translates the usual names to those of node labels.
func Architecture(name string) string {
	switch name {
	case "x86_64", "x86-64", "x64":
		return "amd64"
	case "aarch64", "armv8":
		return "arm64"
	}
	return name
}
