package render

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	rbac "k8s.io/client-go/applyconfigurations/rbac/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// renderer renders one workload.
type renderer struct {
	Frame
	o   *Options
	in  *Input
	out []Object
	err error
}

// Render returns every object of a workload, in the order in which they are to
// be applied: what others refer to comes first. The error wraps
// [driver.ErrInvalid].
func Render(o *Options, in Input) ([]Object, error) {
	r := &renderer{Frame: FrameOf(o, in.Workload), o: o, in: &in}
	r.namespace()
	r.state()
	services := in.Workload.Group.Services
	for _, part := range []func(manifest.Service){
		r.pullSecret, r.account, r.names, r.forwards, r.claimTemplate, r.pods, r.routes,
	} {
		for _, s := range services {
			part(s)
		}
	}
	r.quota()
	if o.Policies != nil && r.err == nil {
		var policies []Object
		policies, r.err = o.Policies(in.Workload)
		r.out = append(r.out, policies...)
	}
	if r.err != nil {
		return nil, r.err
	}
	r.sort()
	return r.out, r.unique()
}

// FrameOf returns what all objects of a workload have in common.
func FrameOf(o *Options, w driver.Workload) Frame {
	return Frame{Namespace: Namespace(w.Lease), Instance: o.Instance, Lease: w.Lease.String()}
}

// sort establishes the order of [Kinds].
func (r *renderer) sort() {
	rank := make(map[string]int)
	for i, k := range Kinds() {
		rank[k.Kind] = i
	}
	slices.SortStableFunc(r.out, func(a, b Object) int { return rank[a.Kind.Kind] - rank[b.Kind.Kind] })
}

// unique refuses two objects of one name.
func (r *renderer) unique() error {
	seen := make(map[string]bool)
	for _, o := range r.out {
		key := o.String()
		if seen[key] {
			return fmt.Errorf("%w: two parts of it would be %s", driver.ErrInvalid, key)
		}
		seen[key] = true
	}
	return nil
}

// add seals an object and keeps it.
func (r *renderer) add(k Kind, name, service string, v any) {
	o, err := r.Seal(k, name, service, v)
	if err != nil {
		r.err = err
		return
	}
	r.out = append(r.out, o)
}

func (r *renderer) namespace() {
	k := Namespaces()
	v := &core.NamespaceApplyConfiguration{TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, r.Namespace, "", nil)}
	enforce := "restricted"
	for _, s := range r.in.Workload.Group.Services {
		if !r.nonRoot(s) {
			enforce = "baseline"
		}
	}
	v.Labels["pod-security.kubernetes.io/enforce"] = enforce
	v.Labels["pod-security.kubernetes.io/enforce-version"] = "latest"
	r.add(k, r.Namespace, "", v)
}

// state keeps the workload itself.
func (r *renderer) state() {
	k := Secrets()
	v := &core.SecretApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, StateName, "", nil),
		Type: new(corev1.SecretType(StateType)), Data: map[string][]byte{StateKey: r.in.State},
	}
	r.add(k, StateName, "", v)
}

// account gives a service the permissions that the document names: it may read
// what it is, its logs and its events, in its own namespace.
func (r *renderer) account(s manifest.Service) {
	rules := permissions(s)
	if len(rules) == 0 {
		return
	}
	name := accountName(s.Name)
	k := ServiceAccounts()
	r.add(k, name, s.Name, &core.ServiceAccountApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, name, s.Name, nil),
		AutomountServiceAccountToken: new(false),
	})
	k = Roles()
	r.add(k, name, s.Name, &rbac.RoleApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, name, s.Name, nil), Rules: rules,
	})
	k = RoleBindings()
	r.add(k, name, s.Name, &rbac.RoleBindingApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, name, s.Name, nil),
		Subjects: []rbac.SubjectApplyConfiguration{{Kind: new("ServiceAccount"), Name: &name, Namespace: &r.Namespace}},
		RoleRef:  &rbac.RoleRefApplyConfiguration{APIGroup: new(Roles().Group), Kind: new(Roles().Kind), Name: &name},
	})
}

func accountName(service string) string { return derive("sa", service) }

// permissions translates those of a document; nil is none.
func permissions(s manifest.Service) []rbac.PolicyRuleApplyConfiguration {
	if s.Params == nil || s.Params.Permissions == nil {
		return nil
	}
	rule := func(group, resource string, verbs ...string) rbac.PolicyRuleApplyConfiguration {
		return rbac.PolicyRuleApplyConfiguration{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	var out []rbac.PolicyRuleApplyConfiguration
	for _, name := range []string{"deployment", "logs", "events"} {
		if !slices.Contains(s.Params.Permissions.Read, name) {
			continue
		}
		switch name {
		case "deployment":
			out = append(out, rule("apps", "deployments", "get", "list", "watch"), rule("apps", "statefulsets", "get", "list", "watch"))
		case "logs":
			out = append(out, rule("", "pods", "get", "list", "watch"), rule("", "pods/log", "get"))
		case "events":
			out = append(out, rule("", "events", "get", "list", "watch"))
		}
	}
	return out
}
