#!/bin/bash
# Every identity command of the openstack client, from making a thing to removing it.
. "$(dirname "$0")/../lib.sh"
PATH=$("$here/scripts/venv" openstack)/bin:$PATH
cloud --sim-hosts 1

echo anything >"$work/blob"
echo '{"interface": "public"}' >"$work/filters.json"
echo '[{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "REMOTE_USER"}]}]' >"$work/rules.json"
commands <<'LINES'
versions show --service identity ~ 3\.14
catalog list ~ keystone
catalog show compute ~ 8774
token issue ~ gAAAA

# domains, projects, users, groups
domain create --description one acme ~ acme
! domain create acme ~ 409
domain create --or-show acme ~ acme
domain set --description two --disable acme
domain show acme ~ two
domain set --enable acme
domain list --name acme ~ True
# where the client takes names of domains for their ids, it is told ids
acme = domain show acme -f value -c id
project create --domain acme --description top --tag a --tag b --property colour=red top ~ red
project create --domain acme --parent top leaf
! project create --domain acme leaf ~ 409
project create --domain acme --or-show leaf
project set --domain acme --name twig --tag c leaf
project show --domain acme --parents twig ~ parents
project show --domain acme --children top ~ subtree
project list --domain acme --tags a,b -f value -c Name ~ ^top$
project list --domain acme --not-tags a -f value -c Name ~ ^twig$
project list --domain acme --long --sort name:desc ~ top
user create --domain acme --password first --email ann@example.org --description Ann --enable ann ~ ann@example.org
! user create --domain acme ann ~ 409
user create --domain acme --or-show ann
user set --domain acme --name bea --project top --project-domain acme --disable-multi-factor-auth ann
user show --domain acme bea ~ ann@example.org
user list --domain acme --long ~ bea
user set --domain acme --password second bea
! --os-username bea --os-user-domain-name acme --os-password first --os-project-name top --os-project-domain-name acme token issue ~ 401
group create --domain acme --description crew crew
group create --domain $acme --or-show crew
group set --domain acme --name team crew
group add user --group-domain acme --user-domain acme team bea
group contains user --group-domain acme --user-domain acme team bea ~ bea in group team
group list --domain acme --user bea --user-domain acme -f value -c Name ~ ^team$
user list --domain $acme --group team -f value -c Name ~ ^bea$
group show --domain acme team ~ crew

# roles and who has them
role create --description looks auditor
role create --domain acme local
role set --description looks-closely --immutable auditor
! role delete auditor ~ 403
role set --no-immutable auditor
role show auditor ~ looks-closely
role list --domain acme -f value -c Name ~ ^local$
implied role create --implied-role reader auditor
implied role list ~ auditor
role add --project top --project-domain acme --user bea --user-domain acme member
role add --project top --project-domain acme --user bea --user-domain acme member
role add --domain acme --group team --group-domain acme auditor
role add --domain acme --user bea --user-domain acme --inherited reader
role add --system all --user bea --user-domain acme reader
role assignment list --user bea --user-domain acme --names ~ member
role assignment list --user bea --user-domain acme --effective --names ~ auditor
role assignment list --project top --project-domain acme --effective --names ~ reader
role assignment list --system all --names ~ bea
role remove --system all --user bea --user-domain acme reader
role remove --domain acme --user bea --user-domain acme --inherited reader
role remove --domain acme --group team --group-domain acme auditor
implied role delete --implied-role reader auditor
role delete auditor
role delete --domain acme local

# regions, services, endpoints, which endpoints projects see
region create --description north North
region create --parent-region North Oslo
region set --description south Oslo
region show Oslo ~ south
region list --parent-region North -f value -c Region ~ ^Oslo$
service create --name designate --description names dns
service set --description more-names --disable dns
service show dns ~ more-names
service set --enable dns
service list --long ~ designate
endpoint = endpoint create --region Oslo dns public http://127.0.0.1:9001/%(project_id)s -f value -c id
endpoint set --url http://127.0.0.1:9002 --disable $endpoint
endpoint show $endpoint ~ 9002
endpoint set --enable $endpoint
endpoint list --service dns --interface public --region Oslo ~ 9002
endpoint add project $endpoint top --project-domain acme
endpoint list --project top --project-domain acme ~ 9002
endpoint remove project $endpoint top --project-domain acme
endpoint group create --description public-ones public $work/filters.json
endpoint group set --name those --description those-for-all public
endpoint group show those ~ those-for-all
endpoint group list ~ those
endpoint group add project those top --project-domain $acme
endpoint group list --project top --domain $acme ~ those
endpoint group remove project those top --project-domain $acme
endpoint group delete those

# limits
registered limit create --service dns --default-limit 10 --region Oslo zones
registered = registered limit list --resource-name zones -f value -c ID
registered limit set --default-limit 11 $registered
registered limit show $registered ~ 11
limit = limit create --project top --project-domain acme --service dns --region Oslo --resource-limit 5 zones -f value -c id
! registered limit delete $registered ~ 403
limit set --resource-limit 6 --description few $limit
limit show $limit ~ few
limit list --resource-name zones ~ 6
limit delete $limit
registered limit delete $registered

# secrets
credential = credential create --type cert --project admin admin $work/blob -f value -c id
credential set --user admin --type cert --data $work/blob $credential
credential show $credential ~ cert
credential list --type cert --user admin ~ cert
credential delete $credential
access = ec2 credentials create -f value -c access
ec2 credentials show $access ~ secret
ec2 credentials list ~ $access
ec2 credentials delete $access
application credential create --secret hush --role reader --expiration 2040-01-01T00:00:00 --description d --access-rules '[{"service": "compute", "method": "GET", "path": "/v2.1/servers"}]' narrow
! application credential create narrow ~ 409
application credential show narrow ~ reader
application credential list ~ narrow
rule = access rule list -f value -c ID
access rule show $rule ~ servers
! access rule delete $rule ~ 403
application credential delete narrow
access rule delete $rule
trust = trust create --project admin --role reader --impersonate --expiration 2040-01-01T00:00:00 admin demo -f value -c id
trust show $trust ~ reader
trust list --trustor admin ~ True
trust delete $trust
! trust show $trust ~ 404|No Trust

# what is kept for others
policy = policy create --type application/json $work/blob -f value -c id
policy set --type text/plain $policy
policy show $policy ~ text/plain
policy list --long ~ text/plain
policy delete $policy
consumer = consumer create --description program -f value -c id
consumer set --description other-program $consumer
consumer show $consumer ~ other-program
consumer list ~ other-program
consumer delete $consumer
mapping create --rules $work/rules.json map
mapping set --rules $work/rules.json map
mapping show map ~ remote
mapping list ~ map
identity provider create --remote-id https://idp.example.org --description theirs --domain acme idp
identity provider set --disable idp
identity provider show idp ~ idp.example.org
identity provider list --id idp ~ idp
federation protocol create --identity-provider idp --mapping map saml2
# the client does it and then ends with 1, whatever the keystone
! federation protocol set --identity-provider idp --mapping map saml2
federation protocol show --identity-provider idp saml2 ~ map
federation protocol list --identity-provider idp ~ saml2
federation protocol delete --identity-provider idp saml2
identity provider delete idp
mapping delete map
service provider create --auth-url https://other.example.org/v3 --service-provider-url https://other.example.org/sp other
service provider set --description other-cloud other
service provider show other ~ other-cloud
service provider list ~ other
service provider delete other

# the end of what was made
endpoint delete $endpoint
service delete dns
! region delete North ~ 403|409
region delete Oslo
region delete North
group remove user --group-domain acme --user-domain acme team bea
group delete --domain acme team
user delete --domain acme bea
project delete --domain acme twig
! domain delete acme ~ 403
domain set --disable acme
domain delete acme
! domain show acme ~ 404|No Domain
token = token issue -f value -c id
token revoke $token
LINES
