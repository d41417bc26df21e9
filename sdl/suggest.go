package sdl

import (
	"strings"
)

// misnomers maps what people write to what the grammar calls it, as
// "wrong=right" parted by spaces. The right side is offered when it is a key of
// the mapping, or holds a dot and so says where the key belongs.
const misnomers = "environment=env envs=env env_vars=env cmd=command entrypoint=command arguments=args arg=args " +
	"ports=expose port=expose exposes=expose depends_on=dependencies depends-on=dependencies links=dependencies " +
	"volumes=params.storage volume=params.storage mounts=params.storage storage=params.storage mount=params.storage " +
	"registry=credentials container=image docker=image replicas=count instances=count size=count " +
	"protocol=proto public=to hosts=accept hostnames=accept domains=accept external=as target=port published=as " +
	"readonly=readOnly read_only=readOnly path=mount ro=readOnly " +
	"user=username pass=password login=username server=host " +
	"ram=memory mem=memory disk=storage cpus=cpu gpus=gpu cores=units count=units amount=units " +
	"signed_by=signedBy signedby=signedBy allof=allOf all_of=allOf anyof=anyOf any_of=anyOf price=pricing prices=pricing " +
	"currency=denom value=amount service=services deployments=deployment profile=profiles endpoint=endpoints type=kind " +
	"storage_class=class persist=persistent deploy=deployment"

// suggestKey returns what key was probably meant for, among keys or under
// another name; "" when nothing is near.
func suggestKey(key, keys string) string {
	lower := strings.ToLower(key)
	for pair := range strings.FieldsSeq(misnomers) {
		wrong, right, _ := strings.Cut(pair, "=")
		if wrong == lower && (isWord(right, keys) || strings.Contains(right, ".") && keys == serviceKeys) {
			return right
		}
	}
	if near := suggestWord(key, keys); near != "" || len(key) < minMisnomer {
		return near
	}
	for pair := range strings.FieldsSeq(misnomers) {
		wrong, right, _ := strings.Cut(pair, "=")
		if len(wrong) >= minMisnomer && len(key) <= maxSuggestLength && isWord(right, keys) && editDistance(lower, wrong) <= 2 {
			return right
		}
	}
	return ""
}

// minMisnomer is how long a misnomer must be for a near miss of it to count.
const minMisnomer = 7

// maxSuggestLength bounds the words that are compared.
const maxSuggestLength = 40

// suggestWord returns the word nearest to s: equal but for case, or within one
// change in three letters.
func suggestWord(s, words string) string {
	if s == "" || len(s) > maxSuggestLength {
		return ""
	}
	best, distance := "", 0
	lower := strings.ToLower(s)
	for w := range strings.FieldsSeq(words) {
		d := editDistance(lower, strings.ToLower(w))
		if d <= max(1, len(w)/3) && d < len(w) && (best == "" || d < distance) {
			best, distance = w, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func editDistance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}

// suggestSize turns "4GB", "4gb" or "4 Gi" into what was meant.
func suggestSize(s, suffixes string) string {
	number, letters := splitUnit(s)
	if number == "" || letters == "" || len(number) > 20 {
		return ""
	}
	letters = strings.ToUpper(letters)
	binary := len(letters) > 1 && letters[1] == 'I'
	unit := strings.TrimSuffix(strings.TrimSuffix(letters, "YTES"), "B")
	unit = strings.TrimSuffix(unit, "I")
	if len(unit) != 1 || !strings.Contains("KMGTPE", unit) {
		return ""
	}
	decimal := number + unit
	if unit == "K" {
		decimal = number + "k"
	}
	if binary || suffixes == binarySuffixes {
		return number + unit + "i"
	}
	return decimal + " or " + number + unit + "i"
}

// suggestCPU turns "500 m", "2 cores" or "1,5" into what was meant.
func suggestCPU(s string) string {
	number, letters := splitUnit(strings.Replace(s, ",", ".", 1))
	switch strings.ToLower(letters) {
	case "m", "milli", "millicores", "mcpu":
		if onlyDigits(number) {
			return number + "m"
		}
	case "", "core", "cores", "cpu", "cpus", "vcpu", "vcpus", "c":
		if number != "" && len(number) <= 20 {
			return number
		}
	}
	return ""
}

// splitUnit parts a positive decimal number from the letters after it.
func splitUnit(s string) (number, letters string) {
	s = strings.TrimSpace(s)
	i := digitsFrom(s, 0)
	if i < len(s) && s[i] == '.' && i > 0 {
		i += 1 + digitsFrom(s, i+1)
	}
	return strings.TrimSuffix(s[:i], "."), strings.TrimSpace(s[i:])
}
