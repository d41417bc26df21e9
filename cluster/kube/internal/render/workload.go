package render

import (
	"encoding/json"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	metav1 "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/moorage-dev/moorage/sdl/manifest"
)

// history is how many former revisions the cluster keeps; nothing rolls back to
// them.
const history = 1

// pods renders what runs a service.
func (r *renderer) pods(s manifest.Service) {
	template, digest := r.template(s)
	selector := &metav1.LabelSelectorApplyConfiguration{MatchLabels: r.selector(s.Name)}
	if IsStateful(s) {
		r.statefulSet(s, template, selector)
	} else {
		r.deployment(s, template, selector)
	}
	if r.err == nil {
		r.out[len(r.out)-1].Template = digest
	}
}

// deployment replaces replicas one by one, each only after a new one is ready.
// Where there is no room for one more, an old one goes first.
func (r *renderer) deployment(s manifest.Service, t *core.PodTemplateSpecApplyConfiguration, selector *metav1.LabelSelectorApplyConfiguration) {
	surge, unavailable := intstr.FromInt32(1), intstr.FromInt32(0)
	if r.in.Tight[s.Name] || s.Resources.GPU.Units > 0 { // cards are never to spare
		surge, unavailable = unavailable, surge
	}
	k, name := Deployments(), WorkloadName(s.Name, false)
	r.add(k, name, s.Name, &apps.DeploymentApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, name, s.Name, nil),
		Spec: &apps.DeploymentSpecApplyConfiguration{
			Replicas: new(int32(s.Count)), Selector: selector, Template: t, RevisionHistoryLimit: new(int32(history)),
			Strategy: &apps.DeploymentStrategyApplyConfiguration{
				Type:          new(appsv1.RollingUpdateDeploymentStrategyType),
				RollingUpdate: &apps.RollingUpdateDeploymentApplyConfiguration{MaxSurge: &surge, MaxUnavailable: &unavailable},
			},
		},
	})
}

// statefulSet starts replicas side by side: an ordered start would wait for ever
// behind one that cannot run. Claims stay when it goes; they go with the
// namespace.
func (r *renderer) statefulSet(s manifest.Service, t *core.PodTemplateSpecApplyConfiguration, selector *metav1.LabelSelectorApplyConfiguration) {
	k, name := StatefulSets(), WorkloadName(s.Name, true)
	r.add(k, name, s.Name, &apps.StatefulSetApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, name, s.Name, nil),
		Spec: &apps.StatefulSetSpecApplyConfiguration{
			Replicas: new(int32(s.Count)), Selector: selector, Template: t, RevisionHistoryLimit: new(int32(history)),
			PodManagementPolicy: new(appsv1.ParallelPodManagement), VolumeClaimTemplates: r.claims(s),
			UpdateStrategy: &apps.StatefulSetUpdateStrategyApplyConfiguration{Type: new(appsv1.RollingUpdateStatefulSetStrategyType)},
			PersistentVolumeClaimRetentionPolicy: &apps.StatefulSetPersistentVolumeClaimRetentionPolicyApplyConfiguration{
				WhenDeleted: new(appsv1.RetainPersistentVolumeClaimRetentionPolicyType),
				WhenScaled:  new(appsv1.RetainPersistentVolumeClaimRetentionPolicyType),
			},
		},
	})
}

func pullName(service string) string { return derive("pull", service) }

// pullSecret holds the credentials for the image's registry.
func (r *renderer) pullSecret(s manifest.Service) {
	c := s.Credentials
	if c == nil {
		return
	}
	type login struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Email    string `json:"email,omitempty"`
		Auth     []byte `json:"auth"`
	}
	host := c.Host
	if host == "" {
		host = "https://index.docker.io/v1/"
	}
	config, err := json.Marshal(map[string]map[string]login{"auths": {host: {
		Username: c.Username, Password: c.Password, Email: c.Email, Auth: []byte(c.Username + ":" + c.Password),
	}}})
	if err != nil {
		r.err = err
		return
	}
	k, name := Secrets(), pullName(s.Name)
	r.add(k, name, s.Name, &core.SecretApplyConfiguration{
		TypeMetaApplyConfiguration: Type(k), ObjectMetaApplyConfiguration: r.Meta(k, name, s.Name, nil),
		Type: new(corev1.SecretTypeDockerConfigJson), Data: map[string][]byte{corev1.DockerConfigJsonKey: config},
	})
}
