"""Support tickets with four labels and a reason each: the task of a first-time user.

A ticket's wording decides its reason. So a student that learned both can write the exact reason.
"""

import random

from tests.support.seeded_rows import Row

LABELS = ("billing", "outage", "how-to", "cancellation")

# (ticket, reason), by label
WORDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "billing": (
        (
            "we paid {money} twice in {month}",
            "The same sum was paid twice, which billing sorts out.",
        ),
        (
            "why is the bill for {month} {money} higher than before",
            "The height of a bill is in doubt.",
        ),
        ("the voucher was not taken off the {plan} plan", "A voucher is missing from the bill."),
        ("our bank refused the payment of {money}", "A payment was refused, so billing must look."),
        (
            "please put our tax number on the invoice of {month}",
            "An invoice must be changed, and billing writes those.",
        ),
        (
            "when do we get the {money} back that you promised",
            "Money is owed to the customer, so billing must pay it.",
        ),
        (
            "which price applies to {seats} seats of the {plan} plan",
            "It asks for a price, which is a matter of billing.",
        ),
    ),
    "outage": (
        ("{part} has been down {since}", "A part is down, so this is an outage."),
        (
            "{part} answers with error {code} {since}",
            "The server itself reports an error, so the service is out.",
        ),
        (
            "none of our {seats} people can reach {part}",
            "It fails for all people, so the fault is in the service.",
        ),
        (
            "{part} stays blank for everyone {since}",
            "Nothing is shown to anyone, which means an outage.",
        ),
        (
            "every file in {part} is gone {since}",
            "All files are missing, which points to a failing service.",
        ),
        (
            "{part} hangs and then stops {since}",
            "It stops by itself, so the service does not work.",
        ),
    ),
    "how-to": (
        (
            "how can I invite {seats} guests to {part}",
            "It asks for the way to do something that works.",
        ),
        (
            "where in {part} do I find the setting for the time zone",
            "It looks for a setting, so an explanation helps.",
        ),
        ("can {part} send a summary every {month}", "It asks what a feature can do."),
        ("please explain the roles in {part}", "An explanation is asked for."),
        ("which steps move {seats} rows into {part}", "Steps are wanted, which is a how-to."),
        (
            "is it possible to rename a folder in {part}, and where",
            "It asks if something is possible, and where.",
        ),
    ),
    "cancellation": (
        ("please end our {plan} plan in {month}", "The plan is to end, so this is a cancellation."),
        (
            "we leave you in {month}, so close our account",
            "An account is to be closed, which is a cancellation.",
        ),
        ("we do not want the {plan} plan to go on after {month}", "The plan is not to go on."),
        ("stop our trial of the {plan} plan", "A trial is to be stopped, which is a cancellation."),
        ("{money} is too much for us, how do we quit", "The customer quits because of the price."),
        (
            "delete our {seats} seats, we have changed to another product",
            "The customer has another product now and leaves.",
        ),
    ),
}
PLACEHOLDERS = {
    "month": ("January", "March", "May", "June", "August", "October", "December"),
    "plan": ("Basic", "Team", "Business", "yearly", "monthly"),
    "part": ("the calendar", "the dashboard", "our archive", "the login page", "the inbox"),
    "since": ("since noon", "since Tuesday", "for three hours", "again today", "after the update"),
    "code": ("500", "502", "503", "504"),
}
GREETINGS = ("", "Hello, ", "Hi there, ", "Good evening, ", "To whom it may concern: ")
ENDS = (".", "?", "!", ". Thank you.", ". It is urgent.", ". Best wishes, Lena", ". Regards, Omar")


def ticket(rng: random.Random) -> Row:
    """One row; its label is one of LABELS."""
    label = rng.choice(LABELS)
    wording, reason = rng.choice(WORDINGS[label])
    slots = {name: rng.choice(values) for name, values in PLACEHOLDERS.items()}
    slots["money"] = f"{rng.choice('$€')}{rng.randrange(20, 900)}"
    slots["seats"] = str(rng.randrange(2, 90))
    greeting = rng.choice(GREETINGS)
    text = wording.format(**slots)
    text = text if greeting else text[0].upper() + text[1:]
    return {"input": f"{greeting}{text}{rng.choice(ENDS)}", "label": label, "rationale": reason}
