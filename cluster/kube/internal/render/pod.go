package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	metav1 "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/moorage-dev/moorage/cluster/driver"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// template makes the pods of a service, and the digest of what was made.
func (r *renderer) template(s manifest.Service) (*core.PodTemplateSpecApplyConfiguration, string) {
	t := &core.PodTemplateSpecApplyConfiguration{
		ObjectMetaApplyConfiguration: &metav1.ObjectMetaApplyConfiguration{
			Labels:      r.labels(s.Name),
			Annotations: map[string]string{AnnotationLease: r.Lease, AnnotationTemplate: blank},
		},
		Spec: r.pod(s),
	}
	body, err := json.Marshal(t)
	if err != nil {
		r.err = fmt.Errorf("kube: render pods of %s: %w", s.Name, err)
		return t, ""
	}
	digest := digestOf(body)
	t.Annotations[AnnotationTemplate] = digest
	return t, digest
}

func (r *renderer) pod(s manifest.Service) *core.PodSpecApplyConfiguration {
	p := &core.PodSpecApplyConfiguration{
		Containers:                   []core.ContainerApplyConfiguration{*r.container(s)},
		Volumes:                      volumes(s),
		AutomountServiceAccountToken: new(false),
		// Without it every Service of the lease would add seven variables.
		EnableServiceLinks: new(false),
		SecurityContext: &core.PodSecurityContextApplyConfiguration{
			SeccompProfile: &core.SeccompProfileApplyConfiguration{Type: new(corev1.SeccompProfileTypeRuntimeDefault)},
		},
		TopologySpreadConstraints: r.spread(s),
	}
	if r.nonRoot(s) {
		p.SecurityContext.RunAsNonRoot = new(true)
	}
	if r.o.GraceSeconds > 0 {
		p.TerminationGracePeriodSeconds = new(r.o.GraceSeconds + r.o.DrainSeconds)
	}
	if r.o.UserNamespaces {
		p.HostUsers = new(false)
	}
	if r.o.PriorityClass != "" {
		p.PriorityClassName = &r.o.PriorityClass
	}
	if len(permissions(s)) > 0 {
		p.ServiceAccountName, p.AutomountServiceAccountToken = new(accountName(s.Name)), new(true)
	}
	switch {
	case s.Credentials != nil:
		p.ImagePullSecrets = []core.LocalObjectReferenceApplyConfiguration{{Name: new(pullName(s.Name))}}
	case r.o.PullSecret != "":
		p.ImagePullSecrets = []core.LocalObjectReferenceApplyConfiguration{{Name: &r.o.PullSecret}}
	}
	if class := r.runtimeClass(s); class != "" {
		p.RuntimeClassName = &class
	}
	r.placement(s, p)
	return p
}

// spread puts replicas on different nodes where that is possible.
func (r *renderer) spread(s manifest.Service) []core.TopologySpreadConstraintApplyConfiguration {
	if s.Count < 2 {
		return nil
	}
	return []core.TopologySpreadConstraintApplyConfiguration{{
		MaxSkew: new(int32(1)), TopologyKey: new(corev1.LabelHostname), WhenUnsatisfiable: new(corev1.ScheduleAnyway),
		LabelSelector: &metav1.LabelSelectorApplyConfiguration{MatchLabels: r.selector(s.Name)},
	}}
}

// runtimeClass chooses how the containers are run.
func (r *renderer) runtimeClass(s manifest.Service) string {
	if s.Params != nil && s.Params.TEE != nil {
		class, ok := r.o.TEERuntimeClass[s.Params.TEE.Type]
		if !ok && r.err == nil {
			r.err = fmt.Errorf("%w: service %s: this cluster has no trusted environment of type %.20q", driver.ErrInvalid, s.Name, s.Params.TEE.Type)
		}
		return class
	}
	if s.Resources.GPU.Units > 0 {
		if class := r.o.GPURuntimeClass[r.in.Resolution.GPU[s.Name].Vendor]; class != "" {
			return class
		}
	}
	return r.o.RuntimeClass
}

func (r *renderer) nonRoot(s manifest.Service) bool {
	return r.o.NonRoot != nil && r.o.NonRoot(s.Image)
}

func (r *renderer) container(s manifest.Service) *core.ContainerApplyConfiguration {
	c := &core.ContainerApplyConfiguration{
		Name: new(Container), Image: new(s.Image), Command: literals(s.Command), Args: literals(s.Args),
		Env: r.environment(s), Ports: containerPorts(s), Resources: r.resources(s), VolumeMounts: mounts(s),
		ImagePullPolicy: new(r.pullPolicy(s.Image)), SecurityContext: r.security(s), ReadinessProbe: r.probe(s),
	}
	if r.o.DrainSeconds > 0 && slices.ContainsFunc(s.Expose, func(e manifest.Expose) bool { return e.Global }) {
		c.Lifecycle = &core.LifecycleApplyConfiguration{PreStop: &core.LifecycleHandlerApplyConfiguration{
			Sleep: &core.SleepActionApplyConfiguration{Seconds: new(r.o.DrainSeconds)},
		}}
	}
	return c
}

// literal keeps Kubernetes from replacing $(NAME): what a tenant writes arrives
// as it was written, as on every other cluster.
func literal(s string) string {
	if strings.Contains(s, "$(") || strings.Contains(s, "$$") {
		return strings.ReplaceAll(s, "$", "$$")
	}
	return s
}

func literals(ss []string) []string {
	out := slices.Clone(ss)
	for i, s := range out {
		out[i] = literal(s)
	}
	return out
}

// pullPolicy looks again at what a tag means at every start; a digest means the
// same for ever.
func (r *renderer) pullPolicy(image string) corev1.PullPolicy {
	switch {
	case r.o.PullPolicy != "":
		return corev1.PullPolicy(r.o.PullPolicy)
	case strings.Contains(image, "@sha256:"):
		return corev1.PullIfNotPresent
	}
	return corev1.PullAlways
}

// capabilities are those that images which begin as root usually need; all are
// allowed by the baseline of pod security.
func capabilities() []corev1.Capability {
	return []corev1.Capability{
		"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
	}
}

func (r *renderer) security(s manifest.Service) *core.SecurityContextApplyConfiguration {
	c := &core.SecurityContextApplyConfiguration{
		Privileged: new(false), AllowPrivilegeEscalation: new(false),
		Capabilities: &core.CapabilitiesApplyConfiguration{Drop: []corev1.Capability{"ALL"}},
	}
	if r.nonRoot(s) {
		c.Capabilities.Add = []corev1.Capability{"NET_BIND_SERVICE"}
	} else {
		c.Capabilities.Add = capabilities()
	}
	return c
}

// probe is what makes a replica ready.
func (r *renderer) probe(s manifest.Service) *core.ProbeApplyConfiguration {
	ask := TCPProbe
	if r.o.Probe != nil {
		ask = r.o.Probe
	}
	p := ask(s)
	if p == nil {
		return nil
	}
	const timeout, failures = 2, 3
	return &core.ProbeApplyConfiguration{
		ProbeHandlerApplyConfiguration: core.ProbeHandlerApplyConfiguration{
			TCPSocket: &core.TCPSocketActionApplyConfiguration{Port: new(intstr.FromInt32(int32(p.TCP)))},
		},
		PeriodSeconds: &p.PeriodSeconds, TimeoutSeconds: new(int32(timeout)), FailureThreshold: new(int32(failures)),
	}
}

// TCPProbe connects to the first port that is open to the world, HTTP first,
// else to the first TCP port. A service without TCP ports is ready when it runs.
func TCPProbe(s manifest.Service) *Probe {
	const period = 2
	best, rank := uint32(0), 0
	for _, e := range s.Expose {
		now := 1
		switch {
		case e.Proto != manifest.TCP:
			continue
		case e.HTTP():
			now = 3
		case e.Global:
			now = 2
		}
		if now > rank {
			best, rank = e.Port, now
		}
	}
	if rank == 0 {
		return nil
	}
	return &Probe{TCP: best, PeriodSeconds: period}
}

// containerPorts lists each port once per protocol.
func containerPorts(s manifest.Service) []core.ContainerPortApplyConfiguration {
	var out []core.ContainerPortApplyConfiguration
	seen := make(map[string]bool)
	for _, e := range s.Expose {
		name := portName(e.Port, e.Proto)
		if seen[name] {
			continue
		}
		seen[name] = true
		out = append(out, core.ContainerPortApplyConfiguration{
			Name: &name, ContainerPort: new(int32(e.Port)), Protocol: new(corev1.Protocol(e.Proto)),
		})
	}
	return out
}
