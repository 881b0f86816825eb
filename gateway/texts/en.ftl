### English. Same keys as zh-CN.ftl (a test holds that); values carry no markup, page code puts it into arguments.

## Frame
skip = Skip to content
nav-label = Main
nav-systems = Systems
nav-account = Account
sign-out = Sign out
large-text = Large text
normal-text = Normal text
other-language = 中文
help-label = Help
help-guide = Guide
help-status = Status
hotline = Helpline
back-home = Back to your systems
open-home = Open your systems
sign-in-again = Sign in again
try-again = Try again
lang-separator = ,{" "}

## Banners
banner-mode-label = Mode of operation
banner-approvals = Standalone: approvals are not enforced.
    .text = Accounts count as written in the folder. For trials only.
banner-stale-label = State of permissions
banner-stale = Changes of permission cannot take effect for now.
    .text = No new configuration since { $time }. What you have works as usual.
banner-fault-label = Some systems
banner-fault = Some systems are not listed for now.
    .text = The rules of { $departments } cannot be decided; the systems come back by themselves.

## Choosing a department
choose-title = Choose a department
choose-heading = Which department are you in?
choose-lead = Choose once; this computer remembers. If you know its code, you can also sign in as { $example }.
choose-example = account@code
choose-find = Find a department
choose-hint = Name or code
find = Find
choose-last = Last used
choose-all = All departments
choose-found = Departments found
choose-code = Code { $code }
choose-none = No such department. Try another word, or see all of them.
choose-show-all = See all departments
choose-missing = Yours is not here? Ask your unit for its code.
choose-missing-phone = Yours is not here? Call the helpline below and give your unit’s full name.
choose-empty = No department can sign in here yet.

## Signing in
login-title = Sign in
login-heading = Sign in here, then open your systems
login-change = Change
login-user = Account
login-password = Password
login-password-help = The password of this network, not of a business system.
login-submit = Sign in
login-first = First time here?
login-activate = Set a password with your code
login-forgot = Forgot your password? Ask your unit for a new code. By signing in you accept the notice.
login-forgot-phone = Forgot your password? Ask your unit or call the helpline. By signing in you accept the notice.
login-steps = Three steps to work
login-step-1 = Sign in
    .note = Here
login-step-2 = Pick a system
    .note = From your list
login-step-3 = Sign in there
    .note = With its own account
notice-heading = Before you sign in
notice-default = This network is for authorised staff only. Your account is yours alone. When you leave your post, tell your unit and the account stops.
login-target = After signing in, { $system } opens.
error-code = Code
error-login-failed = Not signed in: the account or password is not right.
    .text = Check the caps-lock key. After five wrong attempts you have to wait a little.

## Activation
activate-title = Activate your account
activate-heading = Activate your account
activate-lead = With the code from your unit, set a password only you know.
activate-code = Activation code
activate-code-help = Capitals and hyphens do not matter. What looks like 0 or 1 is the letter O or I.
activate-submit = Set the password and sign in
activate-where = Where to find the code
activate-where-text = Once your account is approved, its owner hands you a code of 16 characters. It works once, for 72 hours.
activate-where-lost = Expired or lost? The owner can issue a new one; the old one then stops.
error-activation-refused = Not activated: the account or code is not right, or the code was used or has expired.
    .text = Compare it with your slip and try again. If it still does not work, ask for a new code.

## Password
password-title = Change your password
password-heading = Change your password
password-lead = Your other sessions end at once; this one goes on.
password-forced-heading = Please set a new password first
password-forced-lead = Your account’s owner asks for a new password. You are signed in right after.
password-old = Present password
password-new = New password
password-again = Once more
password-submit = Save the new password
password-notice = What makes a good one
password-notice-text = Three or four unrelated words with a digit or sign between them: easy to remember, hard to guess.
password-notice-leak = Somebody may know your password? Change it, then call the helpline.
rule-length = At least 8 characters, at most 128
rule-classes = Three of: capitals, small letters, digits, signs
rule-personal = Not your account, name or unit
rule-common = Not a common or guessable password
rule-recent = Not one of your last 5
rule-done = : met
rule-todo = : not met yet
rule-later = : checked when you save
error-password-too-weak = Not saved: the new password is not quite there.
    .text = See the conditions below it that are not met.
error-password-differs = Not saved: the two new passwords differ.
    .text = Type the new password twice again.
error-old-wrong = Not saved: the present password is not right.
    .text = Check the caps-lock key and try again.
error-change-expired = Not saved: this page was open too long.
    .text = Go back to the sign-in page and start again.

## Form errors
error-form-invalid = Not sent: a field is empty or too long.
    .text = Fill in every field and send it again.
error-form-foreign = Not sent: this page was open too long, or it came from another site.
    .text = Fill in the form here once more.
error-login-busy = Not signed in: too many people are signing in.
    .text = Try again in a minute.
error-logins-paused = Not signed in: the gateway gets no configuration and takes no new sign-ins.
    .text = Whoever is signed in can go on. Try again in a few minutes, or call the helpline.
error-session-kept = Not signed in: the sign-in cannot be recorded for now.
    .text = Try again in a minute.
error-password-not-handed-in = Not saved: the change cannot be handed in for now.
    .text = The password stays as it was. Try again in a few minutes.
error-credential-changed = Not saved: the password was changed elsewhere.
    .text = Sign in with the new password and try again.

## VPN clients
client-welcome = Sign in to the network of { $department }.
client-choose = Choose your department and sign in, or sign in as account@code.
client-first = First time here? Type the activation code from your unit as the password.
client-department = Department
client-activate = The code is right. Set a password only you know; you are signed in right after.
client-call = Questions? Call { $office }: { $phone }.

## Home
home-title = Your systems
home-heading = Your systems
home-lead = Choose one to open it. Inside, sign in with that system’s own account.
home-find = Find a system
home-find-hint = Name of a system
home-recent = Recently used
home-star = Pin { $system }
home-contact = Questions
home-empty = No system is open to you yet
    .text = Systems are granted by their owners. If your work needs one, have your unit ask its owner.
home-none-found = No system has that name.
home-show-all = See all systems
home-missing = Something missing? Have your unit ask the system’s owner.
waterline-label = This session
waterline-until = Good until { $time }, { $left } left
waterline-progress = Time left in this session
waterline-last = Last sign-in on this computer: { $time }
waterline-last-failures = Last sign-in on this computer: { $time }; { $count } wrong { $number ->
    [one] password
   *[other] passwords
} before this one
waterline-failures = { $count } wrong { $number ->
    [one] password
   *[other] passwords
} before this sign-in
waterline-not-me = Not me
left-hours = { $hours } h { $minutes } min
left-minutes = { $minutes } min
tile-opens = Opens { $time }
    .text = Closed at this hour
tile-schedule = Closed at this hour
    .text = It opens by itself when it is time
tile-network = Open from certain networks
    .text = Open it from your office network
tile-device = Open with the VPN client
    .text = This system does not open in a browser
tile-tunnel = Through the VPN client
    .text = { $place }
tile-address = Opens only by host name
    .text = This gateway has an address only; call the helpline for its name
tile-factor = Needs one more proof of identity
    .text = Ask its owner for a one-time password or certificate

## Expiring
expiring-heading = Signing you out in { $left }
expiring-text = Nothing has happened for a while. Press any key or choose “Keep working” to stay.
expiring-absolute = In any case this session ends at { $time }; sign in again then.
expiring-stay = Keep working
expiring-leave = Sign out now
seconds = { $count } s
minutes-seconds = { $minutes } min { $seconds } s

## Queue and waiting
queue-title = In the queue
queue-word = Waiting to sign in
queue-heading = Number { $place }
queue-lead = You are signed in when it is your turn; no need to type the password again.
queue-progress = Progress in the queue
queue-step-check = Password check
queue-step-check-note = In the queue
queue-step-received = Received
queue-step-list = Your systems
queue-text = Many people are signing in. Each department has its own queue, first come first served; sending it again is not faster.
queue-note = Please keep this page open. Your place is updated every 3 seconds; if nothing changes, choose “Update my place”.
queue-refresh = Update my place
queue-leave = Stop waiting, back to sign-in
queue-lost = Not signed in: the wait was interrupted.
    .text = Type your password once more.
pending-title = Saving
pending-word = Saving the new password
pending-heading = Almost done
pending-lead = Your new password was handed in. You are signed in once it is confirmed; no need to type it again.
pending-slow = The controller does not answer for now. Your new password is kept safe and works as soon as it is confirmed; wait here, or sign in with it later.
pending-text = This page looks again every 3 seconds.
pending-refresh = Look again
pending-leave = Back to sign-in
continue-title = Signed in
continue-word = Signed in
continue-heading = Opening { $system }
continue-lead = It is on its way. If nothing happens, use the button.
continue-go = Open { $system }

## Common parts of outcome pages
do-heading = What you can do
who-heading = Whom to call
who-hotline = Helpline
slip-heading = When you call, read these out
slip-code = Code
slip-request = Request
slip-time = Time
route-label = How far this visit got
route-computer = Your computer
route-gateway = Gateway
route-permission = Permission
route-system = System
route-fine = Fine
route-signed-in = Signed in
route-stopped = Stopped here
route-not-reached = Not reached
route-allowed = Allowed
route-no-answer = No answer
word-not-opened = Not opened
word-unavailable = Not available for now
word-ended = Session ended
word-not-signed-in = Not signed in
word-not-found = Not found
word-not-sent = Not sent
word-signed-out = Signed out
signed-out-heading = You are signed out
signed-out-lead = This session has ended, and with it every system opened from it.
signed-out-note = On a shared computer, close the browser window as well.

## Guide
guide-title = Guide
guide-heading = Guide
guide-lead = Sign in, open a system, sign out. That is all.
guide-first = The first time
guide-first-text = Once your account is approved you get a slip with a department code, an account and an activation code. Choose the department, then “Set a password with your code”, and copy the slip.
guide-daily = Every day
guide-daily-text = After signing in you see the systems open to you; choose one to open it. Inside, sign in with that system’s own account.
guide-end = When you leave
guide-end-text = Use “Sign out” at the top right. Closing the browser is not signing out; a session also ends after some time without work.
guide-refused = When something does not open
guide-refused-text = The page says where it stopped and whom to call. Read out the code and the request number; they find it at once.
guide-password = Forgot your password
guide-password-text = Ask your unit. The owner issues a new activation code and you set a password again.

## Status
status-title = Status
status-heading = Status
status-lead = What the gateway you are connected to says about itself.
status-logins = Signing in
status-logins-open = Open
status-logins-paused = New sign-ins are paused
status-config = Configuration
status-config-fresh = Up to date
status-config-stale = No update since { $time }
status-config-none = Not received yet
status-approvals = Approvals
status-approvals-enforced = Enforced
status-approvals-not = Standalone, not enforced
status-version = Version
status-time = Gateway time

## Time
today = today
tomorrow = tomorrow
weekday-0 = Mon
weekday-1 = Tue
weekday-2 = Wed
weekday-3 = Thu
weekday-4 = Fri
weekday-5 = Sat
weekday-6 = Sun
month-day = { $day } { $month ->
    [1] Jan
    [2] Feb
    [3] Mar
    [4] Apr
    [5] May
    [6] Jun
    [7] Jul
    [8] Aug
    [9] Sep
    [10] Oct
    [11] Nov
   *[12] Dec
}
month-day-weekday = { $weekday } { $day } { $month ->
    [1] Jan
    [2] Feb
    [3] Mar
    [4] Apr
    [5] May
    [6] Jun
    [7] Jul
    [8] Aug
    [9] Sep
    [10] Oct
    [11] Nov
   *[12] Dec
}

## Each code: title, what happened (lead), what you can do (do)
code-login-failed = The account or password is not right
    .lead = Department, account and password do not go together.
    .do = Check the caps-lock key and the department, then try again.
code-login-slowed-down = The account or password is not right
    .lead = Department, account and password do not go together.
    .do = Check the caps-lock key and the department, then try again.
code-login-busy = Too many people are signing in
    .lead = The gateway cannot queue any more.
    .do = Try again in a minute.
code-password-too-weak = The new password is not quite there
    .lead = It does not meet every condition and was not saved.
    .do = Choose another by the conditions on the page.
code-activation-refused = The activation code does not work
    .lead = The account or code is not right, or the code was used or has expired.
    .do = Compare it with your slip; if it still does not work, ask the owner for a new one.
code-credential-changed = The password was changed elsewhere
    .lead = It changed while this page was open, so nothing was saved here.
    .do = Sign in with the new password and try again.
code-change-pending = Your new password waits for confirmation
    .lead = It is kept safe and works as soon as it is confirmed.
    .do = Wait a moment, then sign in with the new password.
code-logins-paused = New sign-ins are paused
    .lead = The gateway gets no configuration for now. Whoever is signed in can go on.
    .do = Try again in a few minutes.
code-form-invalid = The form is not complete
    .lead = A field is empty or too long.
    .do = Go back and fill in every field.
code-form-foreign = This form has expired
    .lead = The page was open too long or came from another site, so nothing was sent.
    .do = Start again from your systems.
code-password-change-required = A new password is needed first
    .lead = Your account’s owner asks for a new password.
    .do = Sign in again and set a new password.
code-session-logged-out = You have signed out
    .lead = This session was signed out on another page.
    .do = Sign in again to go on.
code-session-replaced = You signed in somewhere else
    .lead = An account keeps its newest session only. Go on there, or sign in here again and that one ends.
    .do = It was not you? Sign in here, change your password at once, then call the helpline.
code-session-idle = Signed out after some time without work
    .lead = So that nobody else uses your computer. What you submitted is kept; check in the system for what you did not.
    .do = Sign in again to go on.
code-session-expired = The time of this session is up
    .lead = Every session has a longest duration. What you submitted is kept.
    .do = Sign in again to go on.
code-session-revoked = Earlier sessions are void
    .lead = Your password was changed, or your account’s owner revoked earlier sessions.
    .do = Sign in with your present password.
code-account-unknown = This account no longer exists
    .lead = It was closed and its sessions have ended; what was not submitted is not kept.
    .do = If you still need it, have your unit apply again.
code-account-invalid = Your account’s record cannot be read
    .lead = To be safe the account is stopped; it comes back once the record is mended.
    .do = Call the helpline and give your account and the time.
code-account-left = Your account is closed
    .lead = Your unit reported that you left, and its sessions have ended.
    .do = If that is not so, ask your unit.
code-account-suspended = Your account is suspended
    .lead = Its owner suspended it and its sessions have ended; what was not submitted is not kept.
    .do = Its owner decides when it comes back. Until then you cannot sign in.
code-account-not-approved = Your account is not approved yet
    .lead = An account works once its owner has approved it.
    .do = Ask your unit how far the application has got.
code-account-not-yet-valid = Your account has not started yet
    .lead = It is approved and starts by itself on its first day.
    .do = Sign in on that day.
code-account-expired = Your account has run out
    .lead = Its last day has passed.
    .do = If you still need it, have your unit ask for an extension.
code-account-review-overdue = Your account was not confirmed this year
    .lead = Its owner confirms every account once a year; without that it stops.
    .do = Ask your unit to have the owner confirm it.
code-department-unknown = This department no longer exists
    .lead = Your department is not on this gateway any more.
    .do = Ask your unit for its present code.
code-session-kicked = An administrator ended this session
    .lead = Work in progress was interrupted; what was not submitted is not kept.
    .do = You can sign in again. To learn why, call the helpline.
code-ticket-invalid = This session cannot be read
    .lead = What your browser kept of it is incomplete or too old.
    .do = Sign in again.
code-snapshot-behind = The gateway is catching up
    .lead = Your session is newer than this gateway’s configuration.
    .do = Try again in a few seconds.
code-gateway-stale = The gateway was cut off too long
    .lead = To be safe your session has ended. You can sign in again once the gateway is back.
    .do = Try again in a few minutes.
code-store-reset = Everybody has to sign in again
    .lead = The gateway’s store was restored, so earlier sessions are void.
    .do = Sign in again.
code-handshake-invalid = Opening it was interrupted
    .lead = The step from your list to the system took too long, or your browser keeps no cookies.
    .do = Choose it from your list again, and allow cookies.
code-no-session = Please sign in first
    .lead = Nobody is signed in on this computer.
    .do = Sign in, then open it.
code-no-rule = { $system } is not open to you
    .lead = It is open to certain people only, and your account is not among them. You are still signed in; your other systems work as usual.
    .do = If your work needs it, have your unit ask its owner.
code-owner-deny = { $system } is not open to you
    .lead = A rule of its owner does not allow this. You are still signed in; your other systems work as usual.
    .do = If your work needs it, ask its owner.
code-member-veto = Your department does not let you use { $system }
    .lead = A rule of your own department does not allow this. You are still signed in; your other systems work as usual.
    .do = Ask your department’s administrator.
code-platform-veto = { $system } cannot be opened now
    .lead = A rule for the whole platform does not allow this; it is the same for every department.
    .do = To learn what it says, call the helpline.
code-outside-schedule = { $system } is closed at this hour
    .lead = It is open at certain hours only. You are still signed in; your other systems work as usual.
    .do = Open it during its hours.
code-outside-network = { $system } is open from certain networks only
    .lead = The network you are in is not one of them. You are still signed in; your other systems work as usual.
    .do = Open it from your office network.
code-wrong-device = { $system } needs the VPN client
    .lead = It is not open to browsers.
    .do = Ask its owner how to use it.
code-factor-needed = { $system } needs one more proof of identity
    .lead = Besides the password it asks for a one-time password or a certificate.
    .do = Ask its owner for one.
code-wrong-method = This part of { $system } is not open to you
    .lead = Other pages or actions of it are open to you, this one is not.
    .do = Go back and carry on; if you need this part, ask its owner.
code-policy-trap = The rules of { $system } failed
    .lead = Nothing you did. When rules fail nothing is opened, to be safe.
    .do = Try again in a few minutes; if it stays so, tell its owner.
code-policy-timeout = The rules of { $system } took too long
    .lead = Nothing you did. They did not finish, so nothing was opened, to be safe.
    .do = Try again in a few minutes; if it stays so, tell its owner.
code-policy-malformed = The rules of { $system } failed
    .lead = Nothing you did. Their answer was unusable, so nothing was opened, to be safe.
    .do = Try again in a few minutes; if it stays so, tell its owner.
code-policy-not-loaded = The rules of { $system } are not loaded
    .lead = Nothing you did. The gateway could not load its owner’s rules, so nothing was opened, to be safe.
    .do = Try again in a few minutes; if it stays so, tell its owner.
code-policy-quarantined = The rules of { $system } are resting
    .lead = Nothing you did. They failed several times and rest for a few minutes.
    .do = Try again in five minutes; if it stays so, tell its owner.
code-request-too-large = This request is too large and was not opened
    .lead = Its address or parameters are too long to be decided.
    .do = Go back and start from the system’s first page.
code-no-snapshot = The gateway is not ready yet
    .lead = It has just started and has no configuration.
    .do = Try again in a few seconds.
code-resource-unknown = There is no such system
    .lead = It may have a new name, or was withdrawn. You are still signed in.
    .do = Look for it among your systems.
code-path-refused = This address cannot be opened
    .lead = Part of it is ambiguous, so it was not passed on.
    .do = Go back and start from the system’s first page.
code-host-refused = There is no such address
    .lead = This gateway does not serve that host name.
    .do = Check the address bar, or start from your systems.
code-headers-refused = What your browser sent cannot be read
    .lead = The request’s headers are too large or malformed, so it was not passed on.
    .do = Clear this site’s cookies and try again.
code-body-too-large = That is too much to send
    .lead = The form does not take that much.
    .do = Go back and write less.
code-upstream-unreachable = { $system } does not answer
    .lead = Nothing you did; your computer and network are fine. The system cannot be reached.
    .do = Try again in a few minutes. What you just sent may not be saved; check once it is back.
code-upstream-untrusted = The certificate of { $system } cannot be verified
    .lead = Nothing you did. The gateway cannot be sure it is this system, so nothing was sent to it.
    .do = Tell its owner that the certificate needs renewing.
code-upstream-timeout = { $system } takes too long to answer
    .lead = Nothing you did; your computer and network are fine. The system has your request but did not answer in time.
    .do = Try again in a few minutes. What you just sent may not be saved; check once it is back.
code-upstream-malformed = The answer of { $system } cannot be read
    .lead = Nothing you did. Its answer was incomplete or against the rules of HTTP.
    .do = Try again in a few minutes; if it stays so, tell its owner.
code-address-outside-networks = The address of { $system } is not registered
    .lead = Nothing you did. It lies outside its owner’s registered networks, so it was not opened.
    .do = Tell its owner.
code-address-forbidden = The address of { $system } cannot be used
    .lead = Nothing you did. Such addresses are never reached through a gateway.
    .do = Tell its owner.
code-name-not-resolved = The host name of { $system } is not known
    .lead = Nothing you did; your computer and network are fine.
    .do = Try again in a few minutes; if it stays so, tell its owner.
code-too-many-connections = Too many connections at once
    .lead = The limit is reached, so no further one was opened.
    .do = Close some pages and try again.
code-request-timeout = The request did not arrive whole
    .lead = The gateway waited a while and did not get all of it.
    .do = Check your network and try again.
code-upgrade-refused = This kind of connection is not supported
    .lead = The system’s page asked for one the gateway does not support.
    .do = Tell its owner.
code-page-unknown = There is no such page
    .lead = The address may lack some letters, or the page has a new name.
    .do = Look among your systems.
code-method-refused = This page does not open that way
    .lead = The step starts from a button on a page.
    .do = Go back to your systems and choose it again.
code-access-withdrawn = Access to { $system } was just withdrawn
    .lead = The connection is closed; what was not submitted is not kept.
    .do = To learn why, ask its owner.
code-address-overlap = { $system } shares its address with a system of another department
    .lead = Rules of both let you in, and it cannot be told which of them count.
    .do = Ask its owner; the departments have to agree.
code-ping-unavailable = { $system } cannot be pinged through this gateway
    .lead = Connections to it are not affected.
    .do = If you need it, tell the helpline.
